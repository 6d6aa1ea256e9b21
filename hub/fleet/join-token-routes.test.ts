import { test } from 'node:test';
import assert from 'node:assert/strict';
import { fastify } from 'fastify';
import type { FastifyInstance } from 'fastify';
import { JOIN_TOKENS_PATH } from '../../proto/hubapi/join-tokens.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { registerJoinTokenRoutes } from './join-token-routes.ts';

const ADMIN = `Basic ${Buffer.from('admin:secret').toString('base64')}`;

async function withApp(
  use: (app: FastifyInstance, made: object[]) => Promise<void>,
): Promise<void> {
  const app = fastify();
  const made: object[] = [];
  registerJoinTokenRoutes(app, {
    createJoinToken: async (options) => {
      made.push(options);
      return 'flotilla-join.v1.example';
    },
    isAdmin: (authorization) => authorization === ADMIN,
    logger: createLogger({ level: 'silent', name: 'test' }),
  });
  try {
    await use(app, made);
  } finally {
    await app.close();
  }
}

test('the administrator gets a token with the uses and life that were asked for', async () => {
  await withApp(async (app, made) => {
    const answer = await app.inject({
      method: 'POST',
      url: JOIN_TOKENS_PATH,
      headers: { authorization: ADMIN },
      payload: { uses: 3, expiresInMs: 60_000 },
    });
    assert.equal(answer.statusCode, 201);
    assert.deepEqual(answer.json(), { token: 'flotilla-join.v1.example' });
    assert.deepEqual(made, [{ uses: 3, expiresInMs: 60_000 }]);
  });
});

test('anybody else gets 401 and no token is made', async () => {
  await withApp(async (app, made) => {
    for (const authorization of [undefined, 'Basic xyz', 'Bearer abc', `${ADMIN}x`]) {
      const answer = await app.inject({
        method: 'POST',
        url: JOIN_TOKENS_PATH,
        headers: authorization === undefined ? {} : { authorization },
        payload: { uses: 1, expiresInMs: 60_000 },
      });
      assert.equal(answer.statusCode, 401, String(authorization));
      assert.match(String(answer.headers['www-authenticate']), /^Basic /);
    }
    assert.deepEqual(made, []);
  });
});

test('bad bodies are refused with what is wrong', async () => {
  await withApp(async (app, made) => {
    const bodies = ['', '{', '{}', '{"uses":0,"expiresInMs":60000}', '{"uses":1.5}', '[1]'];
    for (const payload of [...bodies, '{"uses":1,"expiresInMs":60000,"extra":1}']) {
      const answer = await app.inject({
        method: 'POST',
        url: JOIN_TOKENS_PATH,
        headers: { authorization: ADMIN, 'content-type': 'application/json' },
        payload,
      });
      assert.equal(answer.statusCode, 400, payload);
    }
    const large = await app.inject({
      method: 'POST',
      url: JOIN_TOKENS_PATH,
      headers: { authorization: ADMIN, 'content-type': 'application/json' },
      payload: ' '.repeat(100_000),
    });
    assert.equal(large.statusCode, 413);
    assert.deepEqual(made, []);
  });
});
