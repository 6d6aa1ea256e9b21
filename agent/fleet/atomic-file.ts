import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

const PRIVATE_MODE = 0o600;

/**
 * Writes a file that only its owner may read, so that after a crash the old or the new content is
 * there, never a part. Throws the errors of node:fs.
 */
export async function writePrivateFile(path: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  const file = await open(temporary, 'wx', PRIVATE_MODE);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } catch (err) {
    await rm(temporary, { force: true });
    throw err;
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
