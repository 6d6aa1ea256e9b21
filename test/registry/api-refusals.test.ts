import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TestHub } from './test-hub.ts';

let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
});
after(() => hub[Symbol.asyncDispose]());

test('every refusal below /api has one shape, whoever makes it', async () => {
  const json = { 'content-type': 'application/json' };
  const refused = [
    [404, 'GET', '/api/v1/nothing', {}],
    [404, 'GET', '/api', {}],
    [404, 'GET', '/', {}],
    [404, 'PATCH', '/api/v1/nodes', {}],
    [404, 'GET', `/api/v1/accounts/${'a'.repeat(500)}`, {}],
    [404, 'GET', '/api/v1/accounts/%2e%2e', {}],
    [400, 'GET', '/api/v1/accounts/%', {}],
    [400, 'GET', '/api/v1/accounts/%zz', {}],
    [400, 'GET', '/api/v1/accounts/%ff', {}],
    [400, 'POST', '/api/v1/accounts', { headers: json, body: '{' }],
    [400, 'POST', '/api/v1/accounts', { headers: { 'content-type': 'text/x' }, body: 'a' }],
    [413, 'POST', '/api/v1/accounts', { headers: json, body: 'x'.repeat(1_000_000) }],
    [413, 'POST', '/api/token', { headers: { 'content-type': 'a/b' }, body: 'x'.repeat(100_000) }],
    [401, 'GET', '/api/v1/accounts', { authorization: undefined }],
  ] as const;
  for (const [status, method, target, ask] of refused) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.ask(target, { method, ...ask });
    assert.equal(answer.status, status, `${method} ${target}: ${answer.body.toString()}`);
    assert.match(String(answer.headers['content-type']), /^application\/json/);
    const body: { error?: { code?: unknown; message?: unknown } } = JSON.parse(
      answer.body.toString(),
    );
    assert.deepEqual(Object.keys(body), ['error'], target);
    assert.match(String(body.error?.code), /^[A-Z_]+$/, target);
    assert.ok(String(body.error?.message).length > 5, target);
    assert.ok(!answer.body.toString().includes('FST_'), 'nothing of the inside');
  }
});
