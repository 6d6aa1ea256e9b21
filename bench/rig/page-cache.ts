import { open, rm } from 'node:fs/promises';
import path from 'node:path';

const BLOCK = Buffer.alloc(1024 * 1024, 1);

/**
 * Writes and removes a file of `bytes` under `folder`. In a virtual machine the first touch of a
 * page of memory can cost several times the write itself; after this the page cache takes pages
 * that were touched before, for whoever writes next.
 */
export async function touchPages(folder: string, bytes: number): Promise<void> {
  const file = path.join(folder, 'touch-pages');
  const handle = await open(file, 'w');
  try {
    for (let at = 0; at < bytes; at += BLOCK.length) {
      // oxlint-disable-next-line no-await-in-loop -- one block after the other
      await handle.write(BLOCK, 0, Math.min(BLOCK.length, bytes - at), at);
    }
  } finally {
    await handle.close();
    await rm(file, { force: true });
  }
}
