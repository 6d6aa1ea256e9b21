import { parseArgs } from 'node:util';
import { parseByteSize } from '../../proto/std/byte-size.ts';

/** What the demo was asked to do. `sizeBytes` is the size of the largest generated layer. */
export type DemoOptions = {
  agents: number;
  sizeBytes: number;
  image: string | undefined;
  once: boolean;
  json: string | undefined;
};

const AGENTS_MAX = 64;
const LAYER_BYTES_MAX = 64 * 1024 ** 3;

export const DEMO_HELP = `npm run demo -- [options]

Starts a hub and agents on this machine, pushes an image, has every agent pull
it at the same moment as containerd would, and checks each byte.

  --agents N     how many agents, 1 to ${AGENTS_MAX} (default 4)
  --size SIZE    size of the largest generated layer (default 512MiB)
  --image REF    a real image from an upstream instead of a generated one
  --once         stop everything and exit after the table
  --json FILE    write the measured figures to FILE
  --help         this text
`;

/**
 * Reads the demo's command line.
 *
 * @throws Error with one sentence for the user when an option is unknown or out of range.
 */
export function parseDemoOptions(args: readonly string[]): DemoOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agents: { type: 'string', default: '4' },
      size: { type: 'string', default: '512MiB' },
      image: { type: 'string' },
      once: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const agents = Number(values.agents);
  if (!Number.isInteger(agents) || agents < 1 || agents > AGENTS_MAX) {
    throw new Error(`--agents takes a whole number from 1 to ${AGENTS_MAX}, not ${values.agents}`);
  }
  const sizeBytes = parseByteSize(values.size);
  if (sizeBytes < 1 || sizeBytes > LAYER_BYTES_MAX) {
    throw new Error(`--size takes a size from 1 byte to 64GiB, not ${values.size}`);
  }
  return { agents, sizeBytes, image: values.image, once: values.once, json: values.json };
}
