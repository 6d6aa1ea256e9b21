import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB } from '../registry/registry-fixture.ts';
import { IngestSink } from './ingest-sink.ts';
import { PARK_BYTES, PARKS_MAX } from './pull-constants.ts';
import { Wish } from './wish.ts';

/** Where a blob of this size is parked that comes in pieces of so many bytes. */
async function parksOf(size: number, pieceBytes: number): Promise<number[]> {
  const parked: number[] = [];
  let stored = 0;
  const bytes = {
    get size() {
      return stored;
    },
    append: async (slices: readonly Buffer[]) => {
      for (const { length } of slices) stored += length;
    },
  };
  const park = async (): Promise<boolean> => {
    parked.push(stored);
    return true;
  };
  const { signal } = new AbortController();
  const wish = new Wish();
  wish.make();
  const sink = new IngestSink(
    { size },
    { bytes, park, wish, signal, batchBytes: () => MIB, onBytes: () => undefined },
  );
  const piece = Buffer.alloc(pieceBytes);
  // oxlint-disable-next-line no-await-in-loop -- one piece after the other
  while (sink.size < size) await sink.take(piece.subarray(0, size - sink.size));
  await sink.flush();
  assert.equal(stored, size);
  return parked;
}

function parks(count: number): number[] {
  return Array.from({ length: count }, (_, at) => (at + 1) * PARK_BYTES);
}

test('a blob is parked at whole parts of the store while as much is still to come', async () => {
  for (const piece of [65_521, MIB]) {
    // oxlint-disable-next-line no-await-in-loop -- one blob after the other
    assert.deepEqual(await parksOf(2 * PARK_BYTES - 1, piece), []);
    // oxlint-disable-next-line no-await-in-loop -- one blob after the other
    assert.deepEqual(await parksOf(2 * PARK_BYTES, piece), parks(1));
    // oxlint-disable-next-line no-await-in-loop -- one blob after the other
    assert.deepEqual(await parksOf(5 * PARK_BYTES + 7, piece), parks(4));
  }
});

test('a large blob is parked no more than so often, at whole parts too', async () => {
  const parked = await parksOf(3 * PARK_BYTES * PARKS_MAX, 64 * MIB);
  assert.ok(parked.length < PARKS_MAX);
  assert.ok(parked.every((size) => size % PARK_BYTES === 0));
});
