import { parseArgs } from 'node:util';
import { checkOutput } from '../rig/output-file.ts';
import { sizeOption } from '../rig/size-option.ts';

export type RegistryBenchOptions = {
  /** The other registry; undefined: Debian's docker-registry, started for this run. */
  against: { url: string; credentials: string | undefined } | undefined;
  seconds: number;
  rounds: number;
  pushes: number;
  largeBytes: number;
  json: string | undefined;
};

const SECONDS_MAX = 600;
const ROUNDS_MAX = 99;
const PUSHES_MAX = 1_000_000;
/** Of less, the CPU is counted too coarsely. */
const LARGE_MIN_BYTES = 64 * 1024 ** 2;
const LARGE_MAX_BYTES = 1024 ** 4;

export const REGISTRY_HELP = `npm run bench:registry -- [options]

Measures a hub, started for this run with its default settings, beside another registry. In each
round both do the same work in turns; the figures are medians over the rounds, and ratios of the
hub to the other: of rates, but for the CPU of a push. The clients are a process of its own, not
counted, with connections that are kept. The hub checks rights on all of it; pulls bring a token.
Needs Linux and, without --against, docker-registry on the PATH (Debian: docker-registry).

  --against URL   the other registry, http://[USER:PASSWORD@]HOST:PORT; its CPU is counted when it
                  listens on this machine and runs as the same user
  --seconds N     seconds of each measurement of a rate in each round (default 2)
  --rounds N      rounds (default 5)
  --pushes N      small pushes over all rounds, once spread and once into one repository
                  (default 1000)
  --large SIZE    bytes of the push whose CPU is counted (default 1GiB); 6 times that is stored
  --json FILE     write the figures to FILE
  --help          this text
`;

/** Reads the command line. Throws Error with one sentence for the user. */
export function parseRegistryBenchOptions(args: readonly string[]): RegistryBenchOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      against: { type: 'string' },
      seconds: { type: 'string', default: '2' },
      rounds: { type: 'string', default: '5' },
      pushes: { type: 'string', default: '1000' },
      large: { type: 'string', default: '1GiB' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  checkOutput('--json', values.json);
  const rounds = whole('--rounds', values.rounds, ROUNDS_MAX);
  return {
    against: values.against === undefined ? undefined : otherOf(values.against),
    seconds: whole('--seconds', values.seconds, SECONDS_MAX),
    rounds,
    pushes: whole('--pushes', values.pushes, PUSHES_MAX, rounds),
    largeBytes: sizeOption('--large', values.large, { min: LARGE_MIN_BYTES, max: LARGE_MAX_BYTES }),
    json: values.json,
  };
}

function whole(option: string, text: string, max: number, min = 1): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new Error(`${option} takes a whole number from ${min} to ${max}, not ${text}`);
}

function otherOf(text: string): { url: string; credentials: string | undefined } {
  const url = URL.parse(text);
  const isPlain = url?.pathname === '/' && url.search === '' && url.hash === '';
  if (url === null || !isPlain || !/^https?:$/.test(url.protocol)) {
    throw new Error('--against takes the URL of a registry without a path, http or https');
  }
  const { username, password, origin } = url;
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { url: origin, credentials: username === '' ? undefined : login };
}
