import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import {
  CHUNKS_PER_INFLIGHT,
  DOWNLOAD_INFLIGHT_MAX,
  DOWNLOAD_INFLIGHT_MIN,
  INFLIGHT_LANDING_MS,
} from './constants.ts';
import { InflightWindow } from './inflight-window.ts';

const max = DOWNLOAD_INFLIGHT_MAX;

describe('the window of a download', () => {
  it('stays within its bounds however chunks land', () => {
    const gap = fc.integer({ min: 0, max: 2_000 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16_384 }), fc.array(gap), (chunkCount, gaps) => {
        const window = new InflightWindow({ chunkCount, max });
        let nowMs = 0;
        for (const ms of gaps) {
          window.landed((nowMs += ms));
          const size = window.size(nowMs);
          assert.ok(size >= DOWNLOAD_INFLIGHT_MIN && size <= max, `${size}`);
        }
      }),
    );
  });

  it('is wide from the start for a blob of many chunks, and narrow for one of few', () => {
    const many = new InflightWindow({ chunkCount: CHUNKS_PER_INFLIGHT * max, max });
    const few = new InflightWindow({ chunkCount: CHUNKS_PER_INFLIGHT, max });
    assert.equal(many.size(0), max);
    assert.equal(few.size(0), DOWNLOAD_INFLIGHT_MIN);
  });

  it('has room beside requests that are stuck, up to the maximum', () => {
    const window = new InflightWindow({ chunkCount: CHUNKS_PER_INFLIGHT, max });
    const size = DOWNLOAD_INFLIGHT_MIN;
    assert.equal(window.hasRoom({ size, overdue: 0 }, 0), false);
    assert.equal(window.hasRoom({ size, overdue: 1 }, 0), true);
    assert.equal(window.hasRoom({ size: max, overdue: max }, 0), false);
  });

  it('widens while chunks land quickly, and narrows again when they do not', () => {
    const window = new InflightWindow({ chunkCount: CHUNKS_PER_INFLIGHT, max });
    let nowMs = 0;
    for (; nowMs < INFLIGHT_LANDING_MS; nowMs += INFLIGHT_LANDING_MS / 10) window.landed(nowMs);
    assert.equal(window.size(nowMs), 10);
    assert.equal(window.size(nowMs + 2 * INFLIGHT_LANDING_MS), DOWNLOAD_INFLIGHT_MIN);
  });
});
