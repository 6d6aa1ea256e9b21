import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../../proto/ops/logger.ts';
import { OutageLog } from '../../../proto/ops/outage-log.ts';
import { ObjectClient } from './client.ts';

type Answer = { status: number; code: string } | 'silent';

/** A service that answers every call like this, or never. */
async function serviceThat(t: TestContext, first: Answer, outage?: OutageLog) {
  let answer = first;
  const server = createServer((request, response) => {
    request.resume();
    if (answer === 'silent') return;
    response.writeHead(answer.status, { 'content-type': 'application/xml' });
    response.end(`<Error><Code>${answer.code}</Code><Message>no</Message></Error>`);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const client = await ObjectClient.open({
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    bucket: 'images',
    credentials: { accessKeyId: 'key', secretAccessKey: 'hidden' },
    pathStyle: true,
    limits: { callMs: 300, partMs: 300 },
    outage,
  });
  t.after(() => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(client, {
    change: (next: Answer): void => {
      answer = next;
    },
  });
}

const RANGE = { start: 0, end: 10 };

test('a service that keeps silent is away, whatever it is asked', async (t) => {
  const client = await serviceThat(t, 'silent');
  const part = { key: 'k', upload: 'u', number: 1 };
  const calls = [
    client.put('k', Buffer.alloc(10)),
    client.startParts('k'),
    client.putPart(part, Buffer.alloc(10)),
    client.parts('k', 'u'),
    client.finishParts('k', 'u', ['"etag"']),
    client.dropParts('k', 'u'),
    client.remove('k'),
    client.size('k'),
    client.get('k', RANGE),
    client.probe(),
  ];
  const ends = await Promise.allSettled(calls);
  for (const end of ends) {
    assert.equal(end.status, 'rejected');
    assert.equal(end.reason.code, 'STORE_AWAY', String(end.reason));
  }
});

for (const [status, code, expected] of [
  [503, 'SlowDown', 'STORE_AWAY'],
  [500, 'InternalError', 'STORE_AWAY'],
  [403, 'AccessDenied', 'STORE_IO'],
  [403, 'QuotaExceeded', 'NO_SPACE'],
  [404, 'NoSuchBucket', 'STORE_IO'],
] as const) {
  test(`${status} ${code} of the service is told as ${expected}, without the secret`, async (t) => {
    const client = await serviceThat(t, { status, code });
    await assert.rejects(client.put('k', Buffer.alloc(10)), (err: Error & { code?: string }) => {
      assert.equal(err.code, expected, String(err));
      assert.match(err.message, /s3:\/\/images\/k/);
      assert.doesNotMatch(err.message, /hidden/);
      return true;
    });
  });
}

test('what the service does not have is absent, a bucket it does not have a fault', async (t) => {
  const client = await serviceThat(t, { status: 404, code: 'NoSuchKey' });
  assert.equal(await client.get('k', RANGE), undefined);
  assert.equal(await client.size('k'), undefined);
  const none = await serviceThat(t, { status: 404, code: 'NoSuchBucket' });
  await assert.rejects(none.get('k', RANGE), { code: 'STORE_IO' });
});

test('an outage is told at its begin and its end, however many calls it ends', async (t) => {
  const lines: string[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line).msg);
  const logger = createLogger({ level: 'info', name: 'hub' }, { write });
  const outage = new OutageLog({ what: 'the S3 storage' }, { logger });
  const client = await serviceThat(t, 'silent', outage);
  await Promise.allSettled(Array.from({ length: 9 }, () => client.size('k')));
  assert.deepEqual(lines, ['the S3 storage does not answer']);
  client.change({ status: 404, code: 'NoSuchKey' });
  await Promise.all(Array.from({ length: 9 }, () => client.size('k')));
  assert.deepEqual(lines, ['the S3 storage does not answer', 'the S3 storage answers again']);
});
