import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { sleep } from '../../proto/std/abort.ts';
import { formatByteSize } from '../../proto/std/byte-size.ts';

const QUIET_MS = 1000;
const QUIET_IDLE_PART = 0.8;

/** One line on what a figure was measured with. */
export function describeMachine(): string {
  const model = cpus()[0]?.model ?? 'unknown processor';
  const memory = formatByteSize(totalmem());
  const software = `Linux ${release()}, Node ${process.version}`;
  return `${availableParallelism()} x ${model}, ${memory}, ${software}`;
}

function readTicks(): { idle: number; all: number } {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const fields = line.split(/\s+/).slice(1, 9).map(Number);
  const all = fields.reduce((sum, value) => sum + value, 0);
  return { idle: (fields[3] ?? 0) + (fields[4] ?? 0), all };
}

/** Share of the machine that was idle between two calls, 0 to 1. */
export function idleMeter(): () => number {
  const before = readTicks();
  return () => {
    const after = readTicks();
    return (after.idle - before.idle) / Math.max(1, after.all - before.all);
  };
}

/**
 * Waits until the machine has been idle for a second but for a fifth of it, so that what went on
 * before does not weigh on what is measured next. False when that did not come in time.
 */
export async function settle(timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (performance.now() < end) {
    const idle = idleMeter();
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    await sleep(QUIET_MS);
    if (idle() >= QUIET_IDLE_PART) return true;
  }
  return false;
}
