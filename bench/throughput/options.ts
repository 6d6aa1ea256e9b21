import { parseArgs } from 'node:util';
import { checkOutput } from '../rig/output-file.ts';
import { sizeOption } from '../rig/size-option.ts';

export type ThroughputOptions = {
  sizeBytes: number;
  memorySizeBytes: number;
  rounds: number;
  json: string | undefined;
};

const ROUNDS_MAX = 99;
/** Of less, the CPU is counted too coarsely. */
const SIZE_MIN_BYTES = 64 * 1024 ** 2;
const SIZE_MAX_BYTES = 1024 ** 4;

export const THROUGHPUT_HELP = `npm run bench:throughput -- [options]

Measures what one agent can give another and what it costs, with the product's default settings:
a layer goes from the file of agent A over the lane to agent B, which proves it, stores it and
serves curl. Beside it, in turns: the single steps of that path, the same over libp2p streams with
and without the V8 flags of the launcher, and a warm layer against nginx and against a bare Node.js
program that sends it through memory. A and curl have core 0, B has core 1; what curl uses is not
counted. Needs Linux, two processors, taskset and curl,
about 13 GiB of room for temporary files, and nginx to compare with it (Debian: nginx-light).

  --size SIZE     bytes of the layer (default 512MiB)
  --memory SIZE   bytes of the layer read by four readers at once for the memory figure
                  (default 2GiB)
  --rounds N      rounds, each with every variant; medians are shown (default 7)
  --json FILE     write the figures to FILE
  --help          this text
`;

/** Reads the command line. Throws Error with one sentence for the user. */
export function parseThroughputOptions(args: readonly string[]): ThroughputOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      size: { type: 'string', default: '512MiB' },
      memory: { type: 'string', default: '2GiB' },
      rounds: { type: 'string', default: '7' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  checkOutput('--json', values.json);
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX) {
    throw new Error(`--rounds takes a whole number from 1 to ${ROUNDS_MAX}, not ${values.rounds}`);
  }
  const range = { min: SIZE_MIN_BYTES, max: SIZE_MAX_BYTES };
  const sizeBytes = sizeOption('--size', values.size, range);
  const memorySizeBytes = sizeOption('--memory', values.memory, range);
  return { sizeBytes, memorySizeBytes, rounds, json: values.json };
}
