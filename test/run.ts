import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { run } from 'node:test';
import { limitFiles } from './file-limit.ts';
import { newTally, reportFile } from './run-report.ts';
import type { Tally } from './run-report.ts';

const ROOT = path.join(import.meta.dirname, '..');
const TOTAL_TIMEOUT_MS = 40 * 60_000;
const SOAK_TIMEOUT_MS = 3 * 60 * 60_000;
const UNIT_TEST_TIMEOUT_MS = 120_000;
const E2E_TEST_TIMEOUT_MS = 8 * 60_000;
/** Of one test, when trials run at full size. */
const SOAK_TEST_TIMEOUT_MS = 60 * 60_000;
const UNIT_FILE_LIMIT_MS = 4 * 60_000;
const E2E_FILE_LIMIT_MS = 10 * 60_000;
/** Of one file, when trials run at full size. */
const SOAK_FILE_LIMIT_MS = 90 * 60_000;
const INSTALL_TIMEOUT_MS = 5 * 60_000;
const CHECK_TIMEOUT_MS = 3 * 60_000;
/** Trials that nothing runs beside: they compare times, or what was sent by then. */
const ALONE =
  /\/(faults|ipv6|lane|replicas|swarm|uplink|upstream-(c.*|many|replicas)|without-hub)\.test/;
/** Other trials mostly wait: for drains, for budgets, for what is restarted. */
const TRIALS_AT_ONCE = 2;
const STEPS = ['install', 'check', 'unit', 'e2e'] as const;

const USAGE = `usage: npm test [-- [--full] [STEP...] [PATH PART...]]

Runs the steps ${STEPS.join(', ')} (or only those named) and ends with one line of totals.
A path part keeps only test files whose path contains it. --full runs the long trials at full size.
`;

type Step = (typeof STEPS)[number];

function isStep(word: string): word is Step {
  return STEPS.some((step) => step === word);
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function testFiles(step: 'unit' | 'e2e', parts: readonly string[]): string[] {
  const patterns =
    step === 'e2e' ? ['test/e2e/**/*.test.ts'] : ['{proto,hub,agent,test,bench}/**/*.test.ts'];
  return globSync(patterns, { cwd: ROOT })
    .filter((file) => step === 'e2e' || !file.startsWith('test/e2e/'))
    .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
    .sort();
}

type Round = { files: readonly string[]; concurrency: number };

/** What runs beside each other, and one after the other. */
function roundsOf(step: 'unit' | 'e2e', files: readonly string[]): Round[] {
  const cores = availableParallelism();
  if (isFull()) return [{ files, concurrency: step === 'e2e' ? 1 : cores }];
  if (step === 'e2e') {
    return [
      { files: files.filter((file) => !ALONE.test(file)), concurrency: TRIALS_AT_ONCE },
      { files: files.filter((file) => ALONE.test(file)), concurrency: 1 },
    ];
  }
  // The long ones first, so that no core is idle at the end; one more than cores, since some wait.
  const long = files.filter((file) => file.startsWith('test/'));
  const short = files.filter((file) => !file.startsWith('test/'));
  return [{ files: [...long, ...short], concurrency: cores + 1 }];
}

async function runTests(
  step: 'unit' | 'e2e',
  parts: readonly string[],
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  const files = testFiles(step, parts);
  if (files.length === 0) return;
  say(`\n${step}: ${files.length} files`);
  for (const round of roundsOf(step, files)) {
    // oxlint-disable-next-line no-await-in-loop -- one round after the other
    if (round.files.length > 0) await runRound(step, round, tally, signal);
  }
}

async function runRound(
  step: 'unit' | 'e2e',
  { files, concurrency }: Round,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  const paths = files.map((file) => path.join(ROOT, file));
  const { testMs, fileMs } = limitsOf(step);
  // The runner then tells that the file failed, and goes on with the next one.
  const limit = limitFiles(paths, fileMs, (file) => {
    say(`${path.relative(ROOT, file)} did not end within ${fileMs / 1000} s and was ended`);
  });
  const stream = run({
    cwd: ROOT,
    files: paths,
    concurrency,
    timeout: testMs,
    signal,
  });
  try {
    for await (const event of stream) reportFile(event, ROOT, tally, say);
  } finally {
    limit[Symbol.dispose]();
  }
}

function isFull(): boolean {
  return process.env['FLOTILLA_TEST_SCALE'] === 'full';
}

function limitsOf(step: 'unit' | 'e2e'): { testMs: number; fileMs: number } {
  if (isFull()) {
    return { testMs: SOAK_TEST_TIMEOUT_MS, fileMs: SOAK_FILE_LIMIT_MS };
  }
  if (step === 'e2e') return { testMs: E2E_TEST_TIMEOUT_MS, fileMs: E2E_FILE_LIMIT_MS };
  return { testMs: UNIT_TEST_TIMEOUT_MS, fileMs: UNIT_FILE_LIMIT_MS };
}

function runCommand(
  name: string,
  command: readonly [string, ...string[]],
  tally: Tally,
  timeoutMs: number,
): void {
  const [program, ...args] = command;
  const started = Date.now();
  const result = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit', timeout: timeoutMs });
  const ok = result.status === 0;
  if (ok) tally.passed += 1;
  else tally.failed += 1;
  say(`${ok ? 'ok  ' : 'FAIL'} ${name} (${Date.now() - started} ms)`);
}

/** The hundreds of processes of a run would each compile the same code, for half a second. */
function shareCompiled(): Disposable {
  const own = 'NODE_COMPILE_CACHE' in process.env;
  const folder = own ? undefined : mkdtempSync(path.join(tmpdir(), 'flotilla-compiled-'));
  if (folder !== undefined) process.env['NODE_COMPILE_CACHE'] = folder;
  return {
    [Symbol.dispose]: () => {
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

function install(): void {
  say('install: programs the tests drive');
  const script = path.join(ROOT, 'test', 'rig', 'install.sh');
  const result = spawnSync('sh', [script], { stdio: 'inherit', timeout: INSTALL_TIMEOUT_MS });
  // What is missing shows up below as skipped tests with their reason.
  if (result.status !== 0) say('install: not everything could be installed');
}

function hasScript(name: string): boolean {
  const text = readFileSync(path.join(ROOT, 'package.json'), 'utf8');
  const manifest: { scripts?: Record<string, string> } = JSON.parse(text);
  return manifest.scripts?.[name] !== undefined;
}

async function main(words: readonly string[]): Promise<number> {
  if (words.includes('--help')) {
    say(USAGE);
    return 0;
  }
  const full = words.includes('--full');
  if (full) process.env['FLOTILLA_TEST_SCALE'] = 'full';
  const named = words.filter(isStep);
  const steps: readonly Step[] = named.length > 0 ? named : STEPS;
  const parts = words.filter((word) => !isStep(word) && !word.startsWith('--'));
  using compiled = shareCompiled();
  void compiled;
  const tally = newTally();
  const guard = new AbortController();
  const timer = setTimeout(
    () => {
      say('FAIL the whole run took too long and was cut off');
      tally.failed += 1;
      guard.abort();
    },
    full ? SOAK_TIMEOUT_MS : TOTAL_TIMEOUT_MS,
  );
  for (const step of steps) {
    if (guard.signal.aborted) break;
    if (step === 'install') install();
    else if (step === 'check') {
      say('\ncheck: types, lint, format, unused code');
      if (hasScript('check')) {
        runCommand('npm run check', ['npm', 'run', '--silent', 'check'], tally, CHECK_TIMEOUT_MS);
      }
    } else await runTests(step, parts, tally, guard.signal);
  }
  clearTimeout(timer);
  for (const line of tally.failures) say(`failed: ${line}`);
  for (const [reason, count] of tally.skipReasons) say(`skipped ${count}: ${reason}`);
  say(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
  if (tally.failed > 0 || tally.passed === 0) return 1;
  return process.env['CI'] === 'true' && tally.skipped > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
