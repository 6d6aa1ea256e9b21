import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace } from './pace.ts';

const MIB = 1024 * 1024;

test('bodies together leave at the rate of the link less its headers, after a short burst', () => {
  const pace = new Pace({ bytesPerSecond: 100 * MIB });
  let sent = 0;
  for (let nowMs = 0; nowMs < 10_000; nowMs += 1) {
    for (; pace.waitMs(nowMs) === 0; sent += MIB) pace.sends(MIB, nowMs);
  }
  assert.ok(sent >= 940 * MIB && sent <= 946 * MIB, `${sent / MIB} MiB in 10 s`);
});
