import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../../proto/std/errors.ts';

const FILE = 'hub-id';

/**
 * A name of the hub with this data folder, made at its first start, to tell it from others that
 * share its catalog. Worth nothing to others, and no harm when it is lost.
 * @throws errors of node:fs
 */
export async function holderOf(dataDir: string): Promise<string> {
  const file = path.join(dataDir, FILE);
  const known = await readFile(file, 'utf8').catch((err: unknown) => {
    if (hasCode(err, 'ENOENT')) return '';
    throw err;
  });
  const name = known.trim();
  if (name !== '') return name;
  const made = randomUUID();
  await writeFile(file, `${made}\n`);
  return made;
}
