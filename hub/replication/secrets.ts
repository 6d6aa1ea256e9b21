import { readFile } from 'node:fs/promises';
import { ConfigError, type ConfigProblem } from '../../proto/ops/errors.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { RegistryConfig } from './options.ts';

/**
 * Tells at the start what no run could read: each run reads the files of its registry again.
 * @throws ConfigError
 */
export async function checkSecrets(registries: readonly RegistryConfig[]): Promise<void> {
  const problems: ConfigProblem[] = [];
  for (const [i, one] of registries.entries()) {
    for (const name of ['passwordFile', 'caFile'] as const) {
      const file = one[name];
      if (file === undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- problems in the order of the configuration
      const message = await problemOf(file, name);
      const path = `replication.registries[${i}].${name}`;
      if (message !== undefined) problems.push({ path, message, origin: undefined });
    }
  }
  if (problems.length > 0) throw new ConfigError('hub configuration', problems);
}

async function problemOf(
  file: string,
  name: 'passwordFile' | 'caFile',
): Promise<string | undefined> {
  try {
    const text = await readFile(file, 'utf8');
    return name === 'passwordFile' && text.trim() === '' ? 'has no password' : undefined;
  } catch (err) {
    return `${file} cannot be read: ${messageOf(err)}`;
  }
}
