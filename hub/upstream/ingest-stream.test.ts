import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf } from '../../proto/distribution/test-registry.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { openAt } from './ingest-stream.ts';
import type { Upstream, UpstreamPlace } from './port.ts';
import { INGEST_STALL_MS } from './pull-constants.ts';
import { Origin } from './pull-fixture.ts';
import { BLOB, BLOB_DIGEST, CountingRegistry, INTERACTIVE } from './upstream-fixture.ts';
import { REMOTE, upstreamRig } from './upstream-fixture.ts';

const BYTES = Buffer.from('a layer that comes slowly');

async function* oneByOne(signal: AbortSignal | undefined): AsyncGenerator<Buffer> {
  for (const byte of BYTES) {
    signal?.throwIfAborted();
    yield Buffer.of(byte);
  }
}

/** A place whose upstream gives one byte after the other, and no more when that is cut. */
function slowPlace(): UpstreamPlace {
  const origin = new Origin('docker.io');
  const upstream: Upstream = {
    ...origin.upstream(),
    openBlob: async (_repository, _digest, { signal, onTurn }) => {
      onTurn?.();
      return { size: BYTES.length, start: 0, end: BYTES.length, body: oneByOne(signal) };
    },
  };
  const repository = parseRepository('docker.io/library/app');
  return { upstream, policy: origin.policy, repository, remote: parseRepository('library/app') };
}

test('an answer takes the time it takes, and is cut only when nothing comes', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { signal } = new AbortController();
  const ask = { place: slowPlace(), digest: digestOf(BYTES), signal };
  const answer = await openAt(ask, 0);
  assert.ok(answer);
  const parts: Buffer[] = [];
  for await (const part of answer.body) {
    parts.push(part);
    t.mock.timers.tick(INGEST_STALL_MS - 1);
  }
  assert.deepEqual(Buffer.concat(parts), BYTES);
  const silent = await openAt(ask, 0);
  assert.ok(silent);
  t.mock.timers.tick(INGEST_STALL_MS);
  await assert.rejects(bytesOf(silent.body), { code: 'TIMEOUT' });
});

test('the time in which others have their turn is no silence of the upstream', async (t) => {
  const counting = new CountingRegistry({ limit: 1000, windowMs: 1000 });
  const settings = { connections: 2, reserve: 0 };
  const { upstream, metric } = await upstreamRig(t, counting.answer, { settings });
  // One connection is for blobs.
  const first = await upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  assert.equal(await metric('upstream_connections'), 1);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { signal } = new AbortController();
  const place = { ...slowPlace(), upstream, remote: REMOTE };
  const second = openAt({ place, digest: BLOB_DIGEST, signal }, 0);
  t.mock.timers.tick(INGEST_STALL_MS);
  await bytesOf(first?.body);
  const answer = await second;
  assert.deepEqual(await bytesOf(answer?.body), BLOB);
});

test('an upstream that does not answer is cut as soon as its turn was long enough', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const upstream: Upstream = {
    ...slowPlace().upstream,
    openBlob: async (_repository, _digest, { signal, onTurn }) => {
      onTurn?.();
      const { promise, reject } = Promise.withResolvers<never>();
      signal?.addEventListener('abort', () => reject(signal.reason));
      return promise;
    },
  };
  const { signal } = new AbortController();
  const asked = openAt({ place: { ...slowPlace(), upstream }, digest: digestOf(BYTES), signal }, 0);
  t.mock.timers.tick(INGEST_STALL_MS);
  await assert.rejects(asked, { code: 'TIMEOUT' });
});
