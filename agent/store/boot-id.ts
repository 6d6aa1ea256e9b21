import { readFile } from 'node:fs/promises';

const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id';

/**
 * Names the current run of the kernel: bytes written during it are what a read returns, flushed or
 * not. Empty when the system does not tell, which never equals an earlier one.
 */
export async function readBootId(path: string = BOOT_ID_PATH): Promise<string> {
  try {
    return (await readFile(path, 'latin1')).trim().slice(0, 64);
  } catch {
    return '';
  }
}
