import type { Result, SuiteOptions } from './suite.ts';

const WORDS = { passed: 'pass', failed: 'FAIL', skipped: 'skip' } as const;

export type Totals = { passed: number; failed: number; skipped: number };

export function totalsOf(results: readonly Result[]): Totals {
  const count = (outcome: Result['outcome']): number =>
    results.filter((result) => result.outcome === outcome).length;
  return { passed: count('passed'), failed: count('failed'), skipped: count('skipped') };
}

/** One check on one line. */
export function resultLine({ id, spec, level, since, outcome, reason }: Result): string {
  const version = since === 'dev' ? ', dev' : '';
  const why = reason === undefined ? '' : `: ${reason}`;
  return `${WORDS[outcome]} ${id} [${spec}; ${level}${version}]${why}`;
}

export function totalsLine(results: readonly Result[]): string {
  const { passed, failed, skipped } = totalsOf(results);
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

/** What `--json` writes. */
export function reportOf(options: Pick<SuiteOptions, 'url' | 'spec'>, results: readonly Result[]) {
  const { url, spec } = options;
  return { registry: url.origin, spec, ...totalsOf(results), checks: results };
}
