import { parseArgs } from 'node:util';
import { checkOutput } from '../rig/output-file.ts';
import { sizeOption } from '../rig/size-option.ts';

export type UpstreamBenchOptions = {
  agents: number;
  /** Bytes of the layer of each image. */
  sizeBytes: number;
  rounds: number;
  /** What the upstream sends at most, megabits per second. */
  mbit: number;
  json: string | undefined;
};

const AGENTS_MAX = 40;
const ROUNDS_MAX = 99;
const MBIT_MAX = 100_000;
/** Of less, the beginning of a transfer weighs more than the rest. */
const SIZE_MIN_BYTES = 8 * 1024 ** 2;
const SIZE_MAX_BYTES = 1024 ** 4;

export const UPSTREAM_HELP = `npm run bench:upstream -- [options]

Pulls images of an upstream, whose link has a limit, through a hub and an agent that have never seen
them, once more when they have, and straight from the upstream; each round one of each, in turns.
The upstream is a stand-in of Docker Hub over TLS: token service, counted pulls, layers at another
host. Figures are ratios of medians, and the first round is not counted:

  coldRatio                time of a pull through hub and agent, to straight
  coldFirstByteToOneChunk  first byte of a cold layer, to the first MiB of it straight
  warmFirstByteRatio       first byte of a layer that agents have, to straight
  upstreamCopies           bytes of layers and configs the upstream sent, to those pulled
  upstreamCountedPulls     pulls the upstream counted, to different manifests pulled

The last two count all that went through the hub: also one image at the end that every agent pulls
at the same time. Needs root and Linux (network namespaces, tc) and openssl.

  --agents N   how many agents pull the last image (default 4)
  --size SIZE  bytes of the layer of each image (default 128MiB)
  --rounds N   rounds that are counted (default 5)
  --mbit N     the upstream's link, megabits per second (default 200)
  --json FILE  write the figures to FILE
  --help       this text
`;

/** Reads the command line. Throws Error with one sentence for the user. */
export function parseUpstreamBenchOptions(args: readonly string[]): UpstreamBenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agents: { type: 'string', default: '4' },
      size: { type: 'string', default: '128MiB' },
      rounds: { type: 'string', default: '5' },
      mbit: { type: 'string', default: '200' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  checkOutput('--json', values.json);
  return {
    agents: whole('--agents', values.agents, AGENTS_MAX),
    sizeBytes: sizeOption('--size', values.size, { min: SIZE_MIN_BYTES, max: SIZE_MAX_BYTES }),
    rounds: whole('--rounds', values.rounds, ROUNDS_MAX),
    mbit: whole('--mbit', values.mbit, MBIT_MAX),
    json: values.json,
  };
}

function whole(option: string, text: string, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= 1 && value <= max) return value;
  throw new Error(`${option} takes a whole number from 1 to ${max}, not ${text}`);
}
