import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { formatByteSize } from '../../proto/std/byte-size.ts';

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
