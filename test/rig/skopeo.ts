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
  const flags = ['--dest-tls-verify=false', ...login('--dest-creds', credentials)];
  await copy(machine, [...flags, `oci:${image.layout}:v1`, `docker://${reference}`]);
}

/** Pulls an image into a new layout, in the machine's network, over plain http. */
export async function pull(
  machine: Machine,
  reference: string,
  layout: string,
  credentials?: Credentials,
): Promise<void> {
  const flags = ['--src-tls-verify=false', ...login('--src-creds', credentials)];
  await copy(machine, [...flags, `docker://${reference}`, `oci:${layout}:v1`]);
}

function login(flag: string, credentials: Credentials | undefined): string[] {
  return credentials ? [flag, `${credentials.username}:${credentials.password}`] : [];
}

async function copy(machine: Machine, words: readonly string[]): Promise<void> {
  const command = ['skopeo', '--insecure-policy', 'copy', '--quiet', ...words];
  await run(machine.insideWithNames(command), { timeoutMs: COPY_TIMEOUT_MS });
}
