import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { API_ANSWER_MAX_BYTES } from '../../proto/hubapi/admin.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { target, withHub } from '../../proto/ops/hub-fixture.ts';
import { BackupClient } from './client.ts';

const digest = digestOf(Buffer.from('a blob'));

async function refusalOf(answer: (response: ServerResponse) => void): Promise<unknown> {
  let refusal: unknown;
  await withHub(
    (_, response) => answer(response),
    async (url) => {
      const client = new BackupClient(target(url));
      const { signal } = new AbortController();
      refusal = await client.blob('id', digest, { start: 0, signal }).catch((err: unknown) => err);
    },
  );
  return refusal;
}

test('the reason of a refusal is told', async () => {
  const error = { code: 'CONFLICT', message: 'not at this hub' };
  const refusal = await refusalOf((response) =>
    response.writeHead(409).end(JSON.stringify({ error })),
  );
  assert.ok(refusal instanceof Error);
  assert.equal(refusal.message, 'the hub refused: not at this hub');
});

test('a refusal that is too long is cut off, and told by its status', async () => {
  const error = { code: 'CONFLICT', message: 'x'.repeat(API_ANSWER_MAX_BYTES) };
  const refusal = await refusalOf((response) =>
    response.writeHead(502).end(JSON.stringify({ error })),
  );
  assert.ok(refusal instanceof Error);
  assert.equal(refusal.message, 'the hub answered 502');
});
