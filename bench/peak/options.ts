import { parseArgs } from 'node:util';
import { checkOutput } from '../rig/output-file.ts';
import { sizeOption } from '../rig/size-option.ts';

/**
 * When the nodes begin: all in one instant, evenly spread over the time one transfer takes, a
 * fifth after the other, or all in one instant with an earlier image's layers on every node.
 */
const ARRIVALS = ['all', 'ramp', 'rolling', 'second-image'] as const;
/** What goes wrong in the middle of the peak. */
const FAILURES = ['kill10', 'busiest', 'hub', 'zone', 'liars'] as const;

export type Arrivals = (typeof ARRIVALS)[number];
export type Failure = (typeof FAILURES)[number];

export type PeakOptions = {
  agents: number;
  /** Bytes of all layers together. */
  sizeBytes: number;
  layers: number;
  /** Each agent's link, each way. */
  rateMbit: number;
  /** The hub's link, each way. */
  hubRateMbit: number;
  arrivals: Arrivals;
  failure: Failure | undefined;
  /** Copies of the image that the hub may send before `--fail hub` kills it. */
  hubCopies: number;
  /** Bytes of another image that every agent has pulled before; 0: agents that just started. */
  warmUpBytes: number;
  seed: number;
  json: string | undefined;
  html: string | undefined;
  timeline: string | undefined;
};

const AGENTS_MAX = 90;
const COPIES_MAX = 1000;
const LAYERS_MAX = 100;
const RATE_MAX_MBIT = 100_000;
const SIZE_MAX_BYTES = 1024 ** 4;
const RATE_UNITS: Readonly<Record<string, number>> = { kbit: 0.001, mbit: 1, gbit: 1000 };

export const PEAK_HELP = `npm run bench:peak -- [options]

Has real agents, each in a network of its own with a link of limited rate, pull one image from one
hub at the same time, and compares the time until the last client has checked its last byte with
the least time the links allow: max{S/us, S/dmin, N*S/(us + sum of ui)} from the nominal rates.
All runs on this machine: about one processor per 300 Mbit/s over all agents and 0.4 GiB of memory
per agent. Beyond that it is the machine that is measured; how much of it was idle is printed.
Needs root and Linux (network namespaces, tc).

  --agents N         how many agents, 1 to ${AGENTS_MAX} (default 16)
  --size SIZE        bytes of the image's layers together (default 128MiB)
  --layers N         how many layers share them (default 1)
  --rate RATE        link of every agent, each way, such as 100Mbit or 1Gbit (default 25Mbit)
  --hub-rate RATE    link of the hub, each way (default: as the agents)
  --arrivals HOW     ${ARRIVALS.join(', ')} (default all)
  --fail WHAT        something goes wrong meanwhile:
                       kill10   a tenth of the agents is killed at half of the bound
                       busiest  the agent that has sent most is killed at half of the bound
                       hub      the hub is killed when it has sent --hub-copies, or at least one
                                and no more
                       zone     half of the nodes lie behind a line of half a node's rate
                       liars    a twentieth of the agents sends wrong bytes
  --hub-copies X     copies of the image the hub sends before --fail hub (default 1.5)
  --warm-up SIZE     every agent has pulled another image of this size before, as agents that have
                     run for a while have (default 64MiB; 0 for agents that have just started)
  --seed N           decides content, order and victims (default 1)
  --json FILE        write the figures to FILE
  --html FILE        write a page with the curves to FILE
  --timeline FILE    write what every agent counts, once a second, to FILE as JSON lines; asking
                     them takes some of the machine
  --help             this text
`;

/** Reads the command line. Throws Error with one sentence for the user. */
export function parsePeakOptions(args: readonly string[]): PeakOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agents: { type: 'string', default: '16' },
      size: { type: 'string', default: '128MiB' },
      layers: { type: 'string', default: '1' },
      rate: { type: 'string', default: '25Mbit' },
      'hub-rate': { type: 'string' },
      arrivals: { type: 'string', default: 'all' },
      fail: { type: 'string' },
      'hub-copies': { type: 'string', default: '1.5' },
      'warm-up': { type: 'string', default: '64MiB' },
      seed: { type: 'string', default: '1' },
      json: { type: 'string' },
      html: { type: 'string' },
      timeline: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const options: PeakOptions = {
    agents: wholeNumber('--agents', values.agents, 1, AGENTS_MAX),
    sizeBytes: sizeOption('--size', values.size, { min: 1, max: SIZE_MAX_BYTES }),
    layers: wholeNumber('--layers', values.layers, 1, LAYERS_MAX),
    rateMbit: parseRate('--rate', values.rate),
    hubRateMbit: parseRate('--hub-rate', values['hub-rate'] ?? values.rate),
    arrivals: oneOf('--arrivals', values.arrivals, ARRIVALS),
    failure: values.fail === undefined ? undefined : oneOf('--fail', values.fail, FAILURES),
    hubCopies: positive('--hub-copies', values['hub-copies']),
    warmUpBytes: sizeOption('--warm-up', values['warm-up'], { min: 0, max: SIZE_MAX_BYTES }),
    seed: wholeNumber('--seed', values.seed, 0, 2 ** 32 - 1),
    json: values.json,
    html: values.html,
    timeline: values.timeline,
  };
  checkTogether(options);
  for (const name of ['json', 'html', 'timeline'] as const) checkOutput(`--${name}`, values[name]);
  return options;
}

function checkTogether({ agents, sizeBytes, layers, arrivals, failure }: PeakOptions): void {
  if (sizeBytes < layers) {
    throw new Error(`--size takes at least one byte a layer, not ${sizeBytes} for ${layers}`);
  }
  if (arrivals === 'second-image' && layers < 2) {
    throw new Error('--arrivals second-image needs --layers 2 or more, all but one of them shared');
  }
  if (failure !== undefined && agents < 2) throw new Error('--fail needs at least two agents');
}

function wholeNumber(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isInteger(value) || value < min || value > max) {
    throw new Error(`${option} takes a whole number from ${min} to ${max}, not ${text}`);
  }
  return value;
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < COPIES_MAX)) {
    throw new Error(`${option} takes a number above 0 and below ${COPIES_MAX}, not ${text}`);
  }
  return value;
}

function parseRate(option: string, text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)\s?([kmg]bit)$/i.exec(text.trim());
  const mbit = Number(match?.[1]) * (RATE_UNITS[match?.[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  if (!(mbit > 0 && mbit <= RATE_MAX_MBIT)) {
    throw new Error(`${option} takes a rate such as 100Mbit or 1Gbit, not ${text}`);
  }
  return mbit;
}

function oneOf<const T extends string>(option: string, text: string, words: readonly T[]): T {
  const found = words.find((word) => word === text);
  if (found === undefined) throw new Error(`${option} takes ${words.join(', ')}, not ${text}`);
  return found;
}
