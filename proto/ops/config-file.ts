import { open } from 'node:fs/promises';
import { messageOf } from '../std/errors.ts';
import { CONFIG_FILE_MAX_BYTES } from './constants.ts';
import { ConfigError } from './errors.ts';

/**
 * The text of a configuration file of at most CONFIG_FILE_MAX_BYTES.
 * @throws ConfigError when it cannot be read or is larger
 */
export async function readConfigFile(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(CONFIG_FILE_MAX_BYTES + 1);
    let size = 0;
    // A pipe gives what it has at the moment; only nothing is the end.
    for (let read = -1; read !== 0 && size < buffer.length; size += read) {
      // oxlint-disable-next-line no-await-in-loop -- one part after the other
      read = (await file.read(buffer, size, buffer.length - size)).bytesRead;
    }
    if (size <= CONFIG_FILE_MAX_BYTES) return buffer.toString('utf8', 0, size);
  } catch (err) {
    throw new ConfigError(path, [
      { path: '', message: `cannot be read: ${messageOf(err)}`, origin: undefined },
    ]);
  }
  const message = `is larger than ${CONFIG_FILE_MAX_BYTES} bytes`;
  throw new ConfigError(path, [{ path: '', message, origin: undefined }]);
}
