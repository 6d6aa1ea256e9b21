import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseBody } from './body.ts';
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
