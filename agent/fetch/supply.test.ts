import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { READER_STALL_MS, READ_BUFFER_BYTES } from './constants.ts';
import { Cursors } from './cursors.ts';
import { createFetchMetrics } from './metrics.ts';
import { ReadBuffers } from './read-buffers.ts';
import { readSupply } from './supply.ts';
import type { ReadModules, Supply } from './supply.ts';
import { Waiters } from './waiters.ts';

/** Bytes that count up, released step by step. */
class TestSupply implements Supply {
  readonly digest = 'sha256:test';
  readonly size = 3 * READ_BUFFER_BYTES;
  readonly #waiters = new Waiters();
  readonly #cursors = new Cursors();
  #released = 0;
  #failure: Error | undefined;

  release(bytes: number): void {
    this.#released += bytes;
    this.#waiters.wakeAll();
  }

  fail(failure: Error): void {
    this.#failure = failure;
    this.#waiters.wakeAll();
  }

  available(position: number): number {
    return Math.max(0, this.#released - position);
  }

  changed(signal: AbortSignal): Promise<void> {
    return this.#failure === undefined ? this.#waiters.next(signal) : Promise.reject(this.#failure);
  }

  read(into: Buffer, position: number): Promise<void> {
    for (let at = 0; at < into.length; at += 1) into[at] = (position + at) % 251;
    return Promise.resolve();
  }

  enter(position: number, nowMs: number) {
    return this.#cursors.enter(position, nowMs);
  }

  hold(): Disposable {
    return { [Symbol.dispose]: () => {} };
  }
}

function modules(): ReadModules {
  const metrics = createFetchMetrics(new MetricsRegistry({ prefix: 'flotilla_agent_' }));
  return { buffers: new ReadBuffers(), metrics };
}

describe('a reader', () => {
  it('gets exactly its range while the bytes arrive', async () => {
    const supply = new TestSupply();
    const range = { start: 100, end: supply.size - 50 };
    let at = range.start;
    supply.release(1000);
    for await (const bytes of readSupply(supply, range, modules(), {})) {
      for (const byte of bytes) {
        assert.equal(byte, at % 251);
        at += 1;
      }
      if (at < supply.size - 50) supply.release(READ_BUFFER_BYTES);
    }
    assert.equal(at, range.end);
  });

  it('ends as stalled when no byte comes for the whole limit', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const reader = readSupply(new TestSupply(), { start: 0, end: 10 }, modules(), {});
    const stalled = assert.rejects(reader.next(), (err) => hasCode(err, 'STALLED'));
    t.mock.timers.tick(READER_STALL_MS);
    await stalled;
  });

  it('learns why the bytes will not come', async () => {
    const supply = new TestSupply();
    const reader = readSupply(supply, { start: 0, end: 10 }, modules(), {});
    const failed = assert.rejects(reader.next(), /the line is cut/);
    supply.fail(new Error('the line is cut'));
    await failed;
  });

  it('is refused a range beyond the blob', async () => {
    const supply = new TestSupply();
    const range = { start: 0, end: supply.size + 1 };
    await assert.rejects(readSupply(supply, range, modules(), {}).next(), (err) =>
      hasCode(err, 'OUT_OF_RANGE'),
    );
  });

  it('that broke off leaves its buffer to nobody else', async () => {
    const supply = new TestSupply();
    supply.release(supply.size);
    const shared = modules();
    const first = readSupply(supply, { start: 0, end: supply.size }, shared, {});
    const { value: mine } = await first.next();
    await first.return();
    const second = readSupply(supply, { start: 0, end: supply.size }, shared, {});
    const { value: theirs } = await second.next();
    assert.ok(mine !== undefined && theirs !== undefined);
    assert.notEqual(mine.buffer, theirs.buffer);
    await second.return();
  });
});
