// What every ChunkTransport must do, whatever carries the bytes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chunkRange, type ChunkLayout } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { ChunkBytes, ChunkTransport } from '../fetch/ports.ts';

/** One peer that serves a blob, seen through the transport under test. */
export interface ConformanceRig extends AsyncDisposable {
  readonly transport: ChunkTransport;
  readonly peerId: string;
  /** Held whole by the peer, and granted; at least four chunks of at least 1 MiB. */
  readonly blob: { digest: Digest; bytes: Buffer; layout: ChunkLayout };
  /** Granted, and not held. */
  readonly absent: Digest;
  /** Held, and not granted. */
  readonly ungranted: Digest;
  /** Called by the peer before it reads the bytes at `position`; a test puts its faults here. */
  onRead: (position: number) => Promise<void>;
}

const TIMEOUT_MS = 20_000;
const STALL_MS = 500;
const ROUNDS = 4;

function coded(...codes: string[]): (err: unknown) => boolean {
  return (err) => {
    assert.ok(hasCode(err, ...codes), `expected one of ${codes.join(', ')}: ${String(err)}`);
    return true;
  };
}

function requestOf(rig: ConformanceRig, index: number) {
  const { digest, layout } = rig.blob;
  const { start, end } = chunkRange(layout, index);
  return { digest, index, length: end - start };
}

async function fetchWhole(rig: ConformanceRig, index: number): Promise<void> {
  const { start, end } = chunkRange(rig.blob.layout, index);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const request = requestOf(rig, index);
  using chunk = await rig.transport.fetchChunk(rig.peerId, request, { signal });
  const { bytes } = chunk;
  assert.equal(bytes.length, end - start);
  assert.ok(bytes.equals(rig.blob.bytes.subarray(start, end)), `chunk ${index} differs`);
}

type Check = (
  promise: string,
  run: (rig: ConformanceRig) => Promise<void>,
  stallMs?: number,
) => void;

function fetch(
  rig: ConformanceRig,
  request: ReturnType<typeof requestOf>,
  signal: AbortSignal = AbortSignal.timeout(TIMEOUT_MS),
): Promise<ChunkBytes> {
  return rig.transport.fetchChunk(rig.peerId, request, { signal });
}

/**
 * Registers the tests. `createRig` makes a fresh peer and a fresh transport for each of them, which
 * gives up a body after `stallMs` of silence.
 */
export function chunkTransportConformance(
  name: string,
  createRig: (options: { stallMs: number }) => Promise<ConformanceRig>,
): void {
  const check: Check = (promise, run, stallMs = TIMEOUT_MS) => {
    test(`${name}: ${promise}`, async () => {
      await using rig = await createRig({ stallMs });
      await run(rig);
    });
  };
  checkBytes(check);
  checkRefusals(check);
  checkAborts(check);
  checkFaults(check);
}

function checkBytes(check: Check): void {
  check('a chunk arrives with exactly its bytes, the short last one too', async (rig) => {
    await fetchWhole(rig, 0);
    await fetchWhole(rig, rig.blob.layout.chunkCount - 1);
  });

  check('many chunks at the same time do not mix', async (rig) => {
    const indices = Array.from({ length: rig.blob.layout.chunkCount }, (_, index) => index);
    const rounds = Array.from({ length: ROUNDS }, () => indices).flat();
    await Promise.all(rounds.map((index) => fetchWhole(rig, index)));
  });
}

function checkRefusals(check: Check): void {
  check('a chunk that the peer does not hold is not found', async (rig) => {
    const request = { ...requestOf(rig, 0), digest: rig.absent };
    await assert.rejects(fetch(rig, request), coded('NOT_FOUND'));
    await fetchWhole(rig, 1);
  });

  check('without a grant there are no bytes', async (rig) => {
    const request = { ...requestOf(rig, 0), digest: rig.ungranted };
    await assert.rejects(fetch(rig, request), coded('NO_GRANT'));
    await fetchWhole(rig, 1);
  });

  check('an index beyond the blob is refused', async (rig) => {
    const request = { ...requestOf(rig, 0), index: rig.blob.layout.chunkCount };
    await assert.rejects(fetch(rig, request), coded('REFUSED', 'NOT_FOUND'));
    await fetchWhole(rig, 1);
  });
}

function checkAborts(check: Check): void {
  check('an aborted request ends at once with the reason, and others go on', async (rig) => {
    const reading = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const { start, end } = chunkRange(rig.blob.layout, 2);
    rig.onRead = async (position) => {
      if (position <= start || position >= end) return;
      reading.resolve();
      await release.promise;
    };
    const abort = new AbortController();
    const fetching = fetch(rig, requestOf(rig, 2), abort.signal);
    const outcome = assert.rejects(fetching, /enough/);
    await reading.promise;
    abort.abort(new Error('enough'));
    await outcome;
    release.resolve();
    await fetchWhole(rig, 3);
    await fetchWhole(rig, 2);
  });

  check('an aborted signal sends nothing', async (rig) => {
    let reads = 0;
    rig.onRead = async () => {
      reads++;
    };
    const aborted = AbortSignal.abort(new Error('no'));
    await assert.rejects(fetch(rig, requestOf(rig, 0), aborted), /no/);
    assert.equal(reads, 0);
  });
}

async function stalls(rig: ConformanceRig): Promise<void> {
  const release = Promise.withResolvers<void>();
  const { start, end } = chunkRange(rig.blob.layout, 1);
  rig.onRead = (position) =>
    position > start && position < end ? release.promise : Promise.resolve();
  await assert.rejects(fetch(rig, requestOf(rig, 1)), coded('TIMEOUT'));
  release.resolve();
  await fetchWhole(rig, 1);
}

function checkFaults(check: Check): void {
  check('a peer that stalls in mid-body is given up, and is asked again later', stalls, STALL_MS);

  check('a body that is cut is a failure, never a short chunk', async (rig) => {
    const { start, end } = chunkRange(rig.blob.layout, 1);
    let broken = true;
    rig.onRead = async (position) => {
      if (broken && position > start && position < end) throw new Error('disk');
    };
    await assert.rejects(fetch(rig, requestOf(rig, 1)), coded('CLOSED', 'REFUSED'));
    broken = false;
    await fetchWhole(rig, 1);
  });

  check('a body shorter than the chunk is refused', async (rig) => {
    const request = requestOf(rig, 0);
    const longer = { ...request, length: request.length + 1 };
    await assert.rejects(fetch(rig, longer), coded('PROTOCOL'));
  });

  check('a body longer than the chunk is refused', async (rig) => {
    const request = requestOf(rig, 0);
    const shorter = { ...request, length: request.length - 1 };
    await assert.rejects(fetch(rig, shorter), coded('PROTOCOL'));
  });
}
