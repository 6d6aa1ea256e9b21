import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { API_ANSWER_MAX_BYTES } from '../hubapi/admin.ts';
import { askAdministration } from './admin-request.ts';
import { target, withHub } from './hub-fixture.ts';

/** What comes of an operation that is answered so. */
async function asked(answer: (response: ServerResponse) => void): Promise<unknown> {
  let outcome: unknown;
  await withHub(
    (_, response) => answer(response),
    async (url) => {
      const request = { method: 'GET', path: '/api/v1/gc' } as const;
      outcome = await askAdministration(target(url), request).catch((err: unknown) => err);
    },
  );
  return outcome;
}

test('the JSON of the hub is given, and nothing for an empty answer', async () => {
  assert.deepEqual(await asked((response) => response.end('{"a":[1]}')), { a: [1] });
  assert.equal(await asked((response) => response.writeHead(204).end()), undefined);
});

test('what the hub refuses is said in its words', async () => {
  const error = { code: 'NOT_FOUND', message: 'no such project' };
  const outcome = await asked((response) => response.writeHead(404).end(JSON.stringify({ error })));
  assert.ok(outcome instanceof Error);
  assert.match(outcome.message, /^the hub refused: no such project$/);
});

test('a page of something else that answers there is named as such, with the address', async () => {
  for (const [status, page] of [
    [200, '<html>please log in</html>'],
    [201, '{"cut'],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one server after the other
    const outcome = await asked((response) => response.writeHead(status).end(page));
    assert.ok(outcome instanceof Error && 'code' in outcome);
    assert.equal(outcome.code, 'HUB_REFUSED');
    assert.match(outcome.message, /^what answers at http:.* is no hub; see/);
  }
});

test('an answer that is too long is not kept', async () => {
  const text = `${' '.repeat(API_ANSWER_MAX_BYTES)}{}`;
  const outcome = await asked((response) => response.end(text));
  assert.ok(outcome instanceof Error && 'code' in outcome);
  assert.equal(outcome.code, 'HUB_UNREACHABLE');
});
