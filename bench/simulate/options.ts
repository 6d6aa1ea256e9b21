import { parseArgs } from 'node:util';
import { availableParallelism } from 'node:os';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { checkOutput } from '../rig/output-file.ts';
import { sizeOption } from '../rig/size-option.ts';
import { PEAK } from './scenario.ts';
import type { Scenario } from './scenario.ts';

/** What the simulation was asked for: runs with the seeds `firstSeed` and up. */
export type SimulateOptions = {
  scenario: Scenario;
  firstSeed: number;
  jobs: number;
  json: string | undefined;
};

const AGENTS_MAX = 20_000;
const SEEDS_MAX = 1_000;
const JOBS_MAX = 64;
const SECONDS_MAX = 25;
/** Blobs below have no chunks that a swarm could share. */
const SIZES = { min: UNCHUNKED_MAX_BYTES + 1024 ** 2, max: 1024 ** 4 };

export const SIMULATE_HELP = `npm run bench:simulate -- [options]

Runs the agent's planner and the hub's tracker in a discrete-event simulation of
a load peak: every agent pulls the same blob. The links and delays are those of
bench/simulate/scenario.ts. Of several seeds the worst figure is reported.

  --agents N      how many agents, 1 to ${AGENTS_MAX} (default 200)
  --size SIZE     size of the blob (default 10GiB)
  --arrivals SEC  agents begin within this many seconds (default 5)
  --churn PART    part of the agents that vanish on the way (default 0.01)
  --seeds N       how many runs (default 5)
  --seed N        seed of the first run; the same seed gives the same run (default 1)
  --jobs N        runs at the same time (default: one per core)
  --json FILE     write the figures to FILE
  --help          this text
`;

function numberIn(name: string, text: string, max: number, whole = true): number {
  const value = text === '' ? Number.NaN : Number(text);
  if (value >= (whole ? 1 : 0) && value <= max && (!whole || Number.isInteger(value))) return value;
  const what = whole ? `a whole number from 1 to ${max}` : `a number from 0 to ${max}`;
  throw new Error(`--${name} takes ${what}, not ${text}`);
}

/**
 * Reads the command line.
 *
 * @throws Error with one sentence for the user when an option is unknown or out of range.
 */
export function parseSimulateOptions(args: readonly string[]): SimulateOptions | 'help' {
  const scenario = { ...PEAK };
  const { values } = parseArgs({
    args: [...args],
    options: {
      agents: { type: 'string', default: String(scenario.nodes) },
      size: { type: 'string', default: String(scenario.sizeBytes) },
      arrivals: { type: 'string', default: String(scenario.arrivalsMs / 1000) },
      churn: { type: 'string', default: String(scenario.churn) },
      seeds: { type: 'string', default: String(scenario.seeds) },
      seed: { type: 'string', default: '1' },
      jobs: { type: 'string', default: String(Math.min(JOBS_MAX, availableParallelism())) },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  checkOutput('--json', values.json);
  scenario.nodes = numberIn('agents', values.agents, AGENTS_MAX);
  scenario.sizeBytes = sizeOption('--size', values.size, SIZES);
  scenario.arrivalsMs = numberIn('arrivals', values.arrivals, SECONDS_MAX, false) * 1000;
  scenario.churn = numberIn('churn', values.churn, 1, false);
  scenario.seeds = numberIn('seeds', values.seeds, SEEDS_MAX);
  const firstSeed = numberIn('seed', values.seed, 2 ** 31 - 1 - SEEDS_MAX);
  const jobs = numberIn('jobs', values.jobs, JOBS_MAX);
  return { scenario, firstSeed, jobs, json: values.json };
}
