import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { checkBody, parseBody } from './body.ts';
import { NewRule, RuleChange } from './replication.ts';
import { AnnounceRequest, EnrolRequest, GrantRequest } from './schemas.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

test('a body that fits its schema comes back, with properties of a newer version', () => {
  const body = { namespace: 'hub', repository: 'library/a', digest: DIGEST, later: 1 };
  assert.deepEqual(parseBody(GrantRequest, Buffer.from(JSON.stringify(body))), body);
});

test('a body that does not fit is refused by the name of the field', () => {
  const body = { namespace: 'hub', repository: 'library/a', digest: 'sha256:short' };
  assert.throws(
    () => parseBody(GrantRequest, Buffer.from(JSON.stringify(body))),
    (err: Error) => 'code' in err && err.code === 'INVALID_BODY' && /digest/.test(err.message),
  );
});

function refused(schema: typeof NewRule | typeof RuleChange, body: object, message: RegExp): void {
  assert.throws(() => checkBody(schema, body), { code: 'INVALID_BODY', message });
}

test('an unknown field is told by its name, its place, and what there is instead', () => {
  const settings = { direction: 'pull', registry: 'other', repositories: ['team/app'] };
  refused(
    NewRule,
    { name: 'nightly', settings: { ...settings, shedule: '0 3 * * *' } },
    /^\/settings: unknown field "shedule"; there are direction, .*schedule, onPush/,
  );
  refused(
    NewRule,
    { name: 'nightly', settings: { ...settings, tags: { glob: ['v*'] } } },
    /^\/settings\/tags: unknown field "glob"; there are globs, regex, semver, excluded$/,
  );
  const unlike = /^body: unknown field "setings"; there are name, enabled, settings$/;
  refused(NewRule, { name: 'nightly', setings: settings }, unlike);
  const several =
    /^body: unknown fields "direction", "registry", "repositories"; there are enabled/;
  refused(RuleChange, settings, several);
  const long = { ...settings, ['x\n'.repeat(500)]: 1 };
  refused(RuleChange, { settings: long }, /^\/settings: unknown field "(?:x\\n){32}"; there/);
});

test('where a few words are allowed, they are told', () => {
  const settings = { direction: 'up', registry: 'other', repositories: ['team/app'] };
  assert.throws(() => checkBody(NewRule, { name: 'nightly', settings }), {
    message: '/settings/direction: must be "push" or "pull"',
  });
});

test('arbitrary bytes give nothing but INVALID_BODY', () => {
  const json = fc.json().map((text) => Buffer.from(text));
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), json);
  fc.assert(
    fc.property(bytes, (input) => {
      for (const schema of [AnnounceRequest, EnrolRequest, GrantRequest]) {
        assert.throws(() => parseBody(schema, input), { code: 'INVALID_BODY' });
      }
    }),
  );
});
