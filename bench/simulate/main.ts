import { writeFile } from 'node:fs/promises';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { messageOf } from '../../proto/std/errors.ts';
import { describeMachine } from '../rig/machine.ts';
import { SIMULATE_HELP, parseSimulateOptions } from './options.ts';
import type { SimulateOptions } from './options.ts';
import { Peak } from './peak.ts';
import { figuresOf, renderTable, worstOf } from './report.ts';
import type { SeedRun } from './report.ts';
import { SeedBars } from './seed-bars.ts';
import type { Scenario } from './scenario.ts';

const PROGRESS_MS = 200;

type Task = { scenario: Scenario; seed: number };
type News = { kind: 'progress'; part: number } | { kind: 'end'; run: SeedRun };

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** In a thread of its own: one run. */
function simulate({ scenario, seed }: Task, tell: (news: News) => void): void {
  const peak = new Peak(scenario, seed);
  let toldMs = 0;
  const result = peak.run((_, part) => {
    if (performance.now() - toldMs < PROGRESS_MS) return;
    toldMs = performance.now();
    tell({ kind: 'progress', part });
  });
  const { events } = result;
  const wallSeconds = performance.now() / 1000;
  tell({ kind: 'end', run: { seed, figures: figuresOf(scenario, result), events, wallSeconds } });
}

function inThread(task: Task, onPart: (part: number) => void): Promise<SeedRun> {
  const { promise, resolve, reject } = Promise.withResolvers<SeedRun>();
  const worker = new Worker(import.meta.filename, { workerData: task });
  worker.on('message', (news: News) => {
    if (news.kind === 'end') resolve(news.run);
    else onPart(news.part);
  });
  worker.once('error', reject);
  worker.once('exit', () => reject(new Error(`the run with seed ${task.seed} ended early`)));
  return promise;
}

async function simulateAll(options: SimulateOptions): Promise<SeedRun[]> {
  const { scenario, firstSeed, jobs } = options;
  const seeds = Array.from({ length: scenario.seeds }, (_, at) => firstSeed + at);
  const bars = new SeedBars(seeds);
  const runs: SeedRun[] = [];
  const waiting = seeds.values();
  const work = async (): Promise<void> => {
    for (const seed of waiting) {
      runs.push(await inThread({ scenario, seed }, (part) => bars.show(seed, part)));
      bars.show(seed, 1);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(jobs, seeds.length) }, work));
  } finally {
    bars.stop();
  }
  return runs.toSorted((a, b) => a.seed - b.seed);
}

async function main(): Promise<void> {
  const options = parseSimulateOptions(process.argv.slice(2));
  if (options === 'help') return say(SIMULATE_HELP);
  const machine = describeMachine();
  say(machine);
  const runs = await simulateAll(options);
  say(renderTable(options.scenario, runs));
  const { scenario } = options;
  const peakRssBytes = process.resourceUsage().maxRSS * 1024;
  const worst = worstOf(runs.map(({ figures }) => figures));
  const figures = { ...worst, machine, peakRssBytes, scenario, runs };
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify(figures, undefined, 2)}\n`);
  }
}

if (isMainThread) {
  try {
    await main();
  } catch (err) {
    process.stderr.write(`bench:simulate: ${messageOf(err)}\n`);
    process.exitCode = 1;
  }
} else {
  const task: Task = workerData;
  // oxlint-disable-next-line require-post-message-target-origin -- a thread has no origin
  simulate(task, (news) => parentPort?.postMessage(news));
}
