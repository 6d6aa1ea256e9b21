import { randomBytes } from 'node:crypto';
import { chmod, link, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';

/** Name of the file with all keys of the fleet, in the keys folder. */
export const KEY_RING_FILE = 'key-ring.pem';

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

async function writeBeside(path: string, text: string): Promise<string> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.new`;
  const file = await open(temporary, 'wx', FILE_MODE);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  return temporary;
}

/**
 * The ring in `folder`, undefined when there is none. The file has mode 0600 then.
 * @throws TrustError MALFORMED for a damaged file, and errors of node:fs
 */
export function readKeyRing(folder: string): Promise<KeyRing | undefined> {
  return readRing(join(folder, KEY_RING_FILE));
}

async function readRing(path: string): Promise<KeyRing | undefined> {
  try {
    const text = await readFile(path, 'utf8');
    await chmod(path, FILE_MODE);
    return KeyRing.fromPem(text);
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}

/**
 * The fleet's keys out of `folder`, made at the first start. Two processes that start at the same
 * time get the same ring. A ring of an earlier version gets the keys it lacks. The file has mode
 * 0600, whatever it had before.
 * @throws TrustError MALFORMED for a damaged file (it is never replaced), and errors of node:fs
 */
export async function loadKeyRing(folder: string, nowMs: number): Promise<KeyRing> {
  const path = join(folder, KEY_RING_FILE);
  if (await makeDurableFolder(folder)) await chmod(folder, FOLDER_MODE);
  const known = await readRing(path);
  if (known !== undefined) {
    if (known.complete(nowMs)) await saveKeyRing(folder, known);
    return known;
  }
  const fresh = KeyRing.create(nowMs);
  const temporary = await writeBeside(path, fresh.toPem());
  try {
    // A link, unlike a rename, never takes the place of a ring that another process just made.
    await link(temporary, path);
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
  } finally {
    await rm(temporary, { force: true });
  }
  await nodeFolderOps.syncFolder(folder);
  return (await readRing(path)) ?? fresh;
}

/** Puts a changed ring in the place of the stored one. Throws errors of node:fs. */
export async function saveKeyRing(folder: string, ring: KeyRing): Promise<void> {
  const path = join(folder, KEY_RING_FILE);
  const temporary = await writeBeside(path, ring.toPem());
  await rename(temporary, path);
  await nodeFolderOps.syncFolder(folder);
}
