import { readFileSync, writeFileSync } from 'node:fs';

/** Linux counts CPU time in ticks of 1/100 s (USER_HZ) on every architecture it shows them. */
const TICKS_PER_SECOND = 100;
const UTIME_FIELD = 13;
const STIME_FIELD = 14;

/**
 * User and system CPU seconds of a process with all its threads so far, from /proc.
 *
 * @throws Error when there is no such process
 */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the command in parentheses, which may hold spaces.
  const fields = ['', '', ...text.slice(text.lastIndexOf(')') + 2).split(' ')];
  return (Number(fields[UTIME_FIELD]) + Number(fields[STIME_FIELD])) / TICKS_PER_SECOND;
}

/** Makes the kernel forget the highest resident size of a process so far: see proc(5). */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** Resident bytes of a process now, and its highest since the start or `forgetPeak`. */
export function residentBytes(pid: number): { now: number; peak: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0) * 1024;
  return { now: field('VmRSS'), peak: field('VmHWM') };
}

/** Middle value; the mean of the two middle ones when their number is even. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? upper) + upper) / 2;
}
