import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { target, withHub } from './hub-fixture.ts';
import { requestJoinToken } from './join-token-request.ts';

const wanted = { uses: 2, expiresInMs: 60_000 };

function endlessAnswer(_: IncomingMessage, response: ServerResponse): void {
  response.writeHead(201).end('x'.repeat(1_000_000));
}

test('the token of the hub is returned, asked for with Basic credentials', async () => {
  const seen: (string | undefined)[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    seen.push(request.method, request.url, request.headers.authorization);
    response.writeHead(201).end(JSON.stringify({ token: 'abc' }));
  };
  await withHub(answer, async (url) => {
    const admin = { url, username: 'admin', password: 'p:w' };
    assert.equal(await requestJoinToken(admin, wanted), 'abc');
  });
  const basic = Buffer.from('admin:p:w').toString('base64');
  assert.deepEqual(seen, ['POST', '/api/v1/join-tokens', `Basic ${basic}`]);
});

test('refusal and silence are told apart', async () => {
  for (const [status, code] of [
    [401, 'HUB_REFUSED'],
    [500, 'HUB_REFUSED'],
  ] as const) {
    const answer = (_: IncomingMessage, response: ServerResponse): void => {
      response.writeHead(status).end('{}');
    };
    await withHub(answer, async (url) => {
      await assert.rejects(requestJoinToken(target(url), wanted), { code });
    });
  }
  let closed = '';
  await withHub(
    () => undefined,
    async (url) => void (closed = url),
  );
  await assert.rejects(requestJoinToken(target(closed), wanted), { code: 'HUB_UNREACHABLE' });
});

test('an endless answer is not kept', async () => {
  await withHub(endlessAnswer, async (url) => {
    const asked = requestJoinToken(target(url), wanted);
    await assert.rejects(asked, { code: 'HUB_UNREACHABLE' });
  });
});
