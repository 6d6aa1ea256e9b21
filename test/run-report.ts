import path from 'node:path';
import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** Lines of an error that are shown; the whole log of a rig's process can hang on it. */
const ERROR_LINES_MAX = 60;
const SKIP_REASONS_MAX = 50;

export type Tally = {
  passed: number;
  failed: number;
  skipped: number;
  failures: string[];
  skipReasons: Map<string, number>;
};

export function newTally(): Tally {
  return { passed: 0, failed: 0, skipped: 0, failures: [], skipReasons: new Map() };
}

/** Prints one line per finished test, its error when it failed, and counts it. */
export function reportFile(
  event: TestEvent,
  root: string,
  tally: Tally,
  say: (text: string) => void,
): void {
  if (event.type === 'test:stderr' || event.type === 'test:stdout') {
    say(event.data.message.trimEnd());
    return;
  }
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return;
  const { data } = event;
  const file = data.file === undefined ? '' : path.relative(root, data.file);
  const label = `${file} > ${data.name}`;
  const milliseconds = `(${Math.round(data.details.duration_ms)} ms)`;
  if (data.skip !== undefined && data.skip !== false) {
    const reason = typeof data.skip === 'string' ? data.skip : 'no reason given';
    tally.skipped += 1;
    if (tally.skipReasons.size < SKIP_REASONS_MAX) {
      tally.skipReasons.set(reason, (tally.skipReasons.get(reason) ?? 0) + 1);
    }
    say(`skip ${label}: ${reason}`);
  } else if (event.type === 'test:fail') {
    // A suite fails because of a test in it, which is counted itself, unless a hook failed.
    const { error } = event.data.details;
    if (isFromSubtest(error)) return;
    tally.failed += 1;
    tally.failures.push(label);
    say(`FAIL ${label} ${milliseconds}`);
    const text = inspect(error.cause ?? error, { depth: 4 });
    say(text.split('\n').slice(0, ERROR_LINES_MAX).join('\n'));
  } else if (data.details.type !== 'suite') {
    tally.passed += 1;
    say(`ok   ${label} ${milliseconds}`);
  }
}

function isFromSubtest(error: Error): boolean {
  return 'failureType' in error && error.failureType === 'subtestsFailed';
}
