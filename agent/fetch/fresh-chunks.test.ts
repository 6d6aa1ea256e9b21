import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { layoutOf } from '../../proto/chunks/layout.ts';
import { ChunkMemory } from './chunk-memory.ts';
import { FRESH_CHUNKS_BYTES, FRESH_CHUNK_MS } from './constants.ts';
import { Cursors } from './cursors.ts';
import { FreshChunks } from './fresh-chunks.ts';
import { ReceivedChunk } from './received-chunk.ts';

const MIB = 1024 * 1024;
const LAYOUT = layoutOf(64 * MIB);

function setUp() {
  const cursors = new Cursors();
  const memory = new ChunkMemory();
  const fresh = new FreshChunks(LAYOUT, { cursors, memory });
  const fates: string[] = [];
  /** Arrives, is offered to readers and let go by who received it. */
  const arrive = (index: number, nowMs = 0): void => {
    const buffer = {
      bytes: Buffer.alloc(MIB, index),
      discard: () => void fates.push(`${index} discarded`),
      [Symbol.dispose]: () => void fates.push(`${index} reusable`),
    };
    const room = { [Symbol.dispose]: () => void fates.push(`${index} room free`) };
    const chunk = new ReceivedChunk(buffer, room);
    using own = chunk.hold();
    void own;
    fresh.offer(index, chunk, nowMs);
  };
  return { cursors, memory, fresh, fates, arrive };
}

describe('a chunk that has just arrived', () => {
  it('is lent to all readers close to it and reusable after the last', () => {
    const { cursors, fresh, fates, arrive } = setUp();
    const readers = [cursors.enter(0, 0), cursors.enter(0, 0)] as const;
    arrive(0);
    for (const reader of readers) {
      assert.deepEqual(fates, []);
      using lease = fresh.lend(5);
      assert.equal(lease?.bytes.length, MIB - 5);
      reader.moved(MIB);
      lease.finished();
    }
    assert.deepEqual(fates, ['0 reusable', '0 room free']);
    assert.equal(fresh.lend(0), undefined);
  });

  it('is used by nobody again when a reader broke off in the middle of it', () => {
    const { cursors, memory, fresh, fates, arrive } = setUp();
    const reader = cursors.enter(0, 0);
    arrive(0);
    reader[Symbol.dispose]();
    fresh.lend(0)?.[Symbol.dispose]();
    assert.deepEqual(fates, ['0 discarded', '0 room free']);
    assert.equal(memory.bytesKept, 0);
  });

  it('stays where it is while a reader sends it, whatever becomes of the download', () => {
    const { cursors, fresh, fates, arrive } = setUp();
    cursors.enter(0, 0);
    arrive(0);
    const lease = fresh.lend(0);
    fresh.clear();
    assert.deepEqual(fates, []);
    assert.deepEqual(lease?.bytes, Buffer.alloc(MIB, 0));
    lease.finished();
    lease[Symbol.dispose]();
    assert.deepEqual(fates, ['0 reusable', '0 room free']);
  });

  it('is not kept without a reader close by', () => {
    const { cursors, fates, arrive } = setUp();
    arrive(0);
    cursors.enter(8 * MIB, 0);
    arrive(7);
    arrive(8 + FRESH_CHUNKS_BYTES / MIB);
    const freed = fates.filter((fate) => fate.endsWith('reusable'));
    assert.deepEqual(freed, ['0 reusable', '7 reusable', '40 reusable']);
  });

  it('is not kept beyond the bytes that are for it', () => {
    const { cursors, memory, fates, arrive } = setUp();
    cursors.enter(4 * MIB, 0);
    cursors.enter(0, 0);
    const fit = FRESH_CHUNKS_BYTES / MIB;
    for (let index = 0; index <= fit; index += 1) arrive(index);
    assert.equal(memory.bytesKept, FRESH_CHUNKS_BYTES);
    assert.deepEqual(fates, [`${fit} reusable`, `${fit} room free`]);
  });

  it('is let go when its reader is too slow for it', () => {
    const { cursors, memory, fresh, fates, arrive } = setUp();
    cursors.enter(0, 0);
    arrive(0, 0);
    arrive(1, 1);
    fresh.sweep(FRESH_CHUNK_MS);
    assert.deepEqual(fates, ['0 reusable', '0 room free']);
    assert.equal(memory.bytesKept, MIB);
  });
});
