import type { Image } from './images.ts';
import type { Machine } from './network.ts';
import { run } from './processes.ts';

const COPY_TIMEOUT_MS = 180_000;

export type Credentials = { username: string; password: string };

/** Pushes an image from its layout, in the machine's network, over plain http. */
export async function push(
  machine: Machine,
  image: Image,
  reference: string,
  credentials?: Credentials,
): Promise<void> {
  const auth = credentials
    ? ['--dest-creds', `${credentials.username}:${credentials.password}`]
    : [];
  const flags = ['--dest-tls-verify=false', ...auth];
  const command = [
    'skopeo',
    '--insecure-policy',
    'copy',
    '--quiet',
    ...flags,
    `oci:${image.layout}:v1`,
    `docker://${reference}`,
  ];
  await run(machine.insideWithNames(command), { timeoutMs: COPY_TIMEOUT_MS });
}

/** Pulls an image into a new layout, in the machine's network, over plain http. */
export async function pull(
  machine: Machine,
  reference: string,
  layout: string,
  credentials?: Credentials,
): Promise<void> {
  const auth = credentials
    ? ['--src-creds', `${credentials.username}:${credentials.password}`]
    : [];
  const flags = ['--src-tls-verify=false', ...auth];
  const command = [
    'skopeo',
    '--insecure-policy',
    'copy',
    '--quiet',
    ...flags,
    `docker://${reference}`,
    `oci:${layout}:v1`,
  ];
  await run(machine.insideWithNames(command), { timeoutMs: COPY_TIMEOUT_MS });
}
