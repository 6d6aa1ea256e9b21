import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { parseImageReference } from '../../proto/oci/name.ts';
import { parseByteSize } from '../../proto/std/byte-size.ts';
import { messageOf } from '../../proto/std/errors.ts';

/** What the demo was asked to do. `sizeBytes` is the size of the largest generated layer. */
export type DemoOptions = {
  agents: number;
  sizeBytes: number;
  image: string | undefined;
  once: boolean;
  json: string | undefined;
};

/** A command line that cannot be understood. */
export class UsageError extends Error {}

const AGENTS_MAX = 64;
const DEFAULT_SIZE = '512MiB';
const LAYER_BYTES_MAX = 64 * 1024 ** 3;

export const DEMO_HELP = `npm run demo -- [options]

Starts a hub and agents on this machine, pushes an image, has every agent pull
it at the same moment as containerd would, and checks each byte. Goes on serving
until Ctrl-C. All data lies in the system's folder for temporary files and is
removed at the end.

  --agents N     how many agents, 1 to ${AGENTS_MAX} (default 4)
  --size SIZE    size of the largest generated layer (default ${DEFAULT_SIZE})
  --image REF    a real image, as one writes it for docker pull, instead of a
                 generated one; from a registry that lets anybody pull
  --once         stop everything and exit after the table
  --json FILE    write the measured figures to FILE
  -h, --help     this text
`;

/**
 * Reads the demo's command line.
 *
 * @throws UsageError with one sentence for the user when an option is unknown or out of range.
 */
export function parseDemoOptions(args: readonly string[]): DemoOptions | 'help' {
  const values = understood(() => wordsOf(args));
  if (values.help) return 'help';
  const agents = Number(values.agents);
  if (!Number.isInteger(agents) || agents < 1 || agents > AGENTS_MAX) {
    throw new UsageError(
      `--agents takes a whole number from 1 to ${AGENTS_MAX}, not ${values.agents}`,
    );
  }
  const size = values.size ?? DEFAULT_SIZE;
  const sizeBytes = understood(() => parseByteSize(size), '--size: ');
  if (sizeBytes < 1 || sizeBytes > LAYER_BYTES_MAX) {
    throw new UsageError(`--size takes a size from 1 byte to 64GiB, not ${size}`);
  }
  const { image, json } = values;
  if (image !== undefined) {
    if (values.size !== undefined) throw new UsageError('--size is for a generated image');
    understood(() => parseImageReference(image), '--image: ');
  }
  if (json !== undefined) {
    understood(() => accessSync(path.dirname(path.resolve(json)), constants.W_OK), '--json: ');
  }
  return { agents, sizeBytes, image: values.image, once: values.once, json: values.json };
}

function wordsOf(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      agents: { type: 'string', default: '4' },
      size: { type: 'string' },
      image: { type: 'string' },
      once: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return values;
}

function understood<T>(read: () => T, prefix = ''): T {
  try {
    return read();
  } catch (err) {
    throw new UsageError(`${prefix}${messageOf(err)}`);
  }
}
