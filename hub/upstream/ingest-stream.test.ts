import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf } from '../../proto/distribution/test-registry.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { openAt } from './ingest-stream.ts';
import type { Upstream, UpstreamPlace } from './port.ts';
import { INGEST_STALL_MS } from './pull-constants.ts';
import { Origin } from './pull-fixture.ts';

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
    openBlob: async (_repository, _digest, { signal }) => {
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
