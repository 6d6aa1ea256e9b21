import { timesExactly } from './decimal.ts';
import { CodedError } from './errors.ts';

const UNITS: readonly [name: string, ms: number][] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/**
 * Milliseconds of a duration such as `250ms`, `30s`, `5m`, `24h`, `7d` or `1h30m`. Plain `0` is no
 * time at all; any other number needs its unit.
 * @throws CodedError DURATION_INVALID unless it comes to whole, safe milliseconds
 */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (trimmed === '0') return 0;
  const valid = /^(?:\d{1,12}(?:\.\d{1,3})?(?:ms|[smhd]))+$/.test(trimmed);
  let total = valid ? 0 : Number.NaN;
  for (const [, amount, unit] of trimmed.matchAll(/([\d.]+)(ms|[smhd])/g)) {
    const factor = UNITS.find(([name]) => name === unit)?.[1] ?? Number.NaN;
    total += timesExactly(amount ?? '', factor);
  }
  if (!Number.isSafeInteger(total)) {
    throw new CodedError(`"${text}" is not a duration; write 250ms, 30s, 5m, 24h or 7d`, {
      code: 'DURATION_INVALID',
      text,
    });
  }
  return total;
}

/** A duration for people that `parseDuration` reads back: `1h30m`, `250ms`, `0s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  let text = '';
  for (const [name, factor] of UNITS) {
    const count = Math.floor(rest / factor);
    if (count > 0) text += `${count}${name}`;
    rest -= count * factor;
  }
  return text === '' ? '0s' : text;
}
