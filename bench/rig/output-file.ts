import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/**
 * Looks, before a bench that takes long begins, whether its figures can be written.
 * @throws Error with one sentence that names the option
 */
export function checkOutput(option: string, file: string | undefined): void {
  if (file === undefined) return;
  try {
    accessSync(path.dirname(path.resolve(file)), constants.W_OK);
  } catch (cause) {
    throw new Error(`${option} names a file in a folder that cannot be written to`, { cause });
  }
}
