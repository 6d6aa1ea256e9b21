import { randomBytes } from 'node:crypto';
import { chmod, link, open, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { ConfigError } from '../../proto/ops/errors.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { PASSWORD_BYTES } from './constants.ts';
import { AccessError } from './errors.ts';
import type { AccessConfig } from './options.ts';

/** Name of the file with the generated password, in the data folder. */
export const PASSWORD_FILE = 'admin-password';

const FILE_MODE = 0o600;
const HUB_HINT = 'without this key the hub makes a password of its own';

type PasswordOptions = Pick<AccessConfig, 'adminPassword' | 'adminPasswordFile'>;

/**
 * The admin's password: as configured, else out of a file of the data folder that is made at the
 * first start with mode 0600.
 * @throws AccessError PASSWORD_TWICE, PASSWORD_EMPTY; ConfigError when its file cannot be read;
 * errors of node:fs
 */
export async function adminPassword(
  options: PasswordOptions,
  modules: { dataDir: string; logger: Logger },
): Promise<string> {
  const { adminPassword: text, adminPasswordFile: file } = checked(options);
  if (text !== undefined) return text;
  if (file !== undefined) return readPassword(file);
  return generated(path.join(modules.dataDir, PASSWORD_FILE), modules.logger);
}

/**
 * The password a hub with this configuration has, for its operator on the same machine.
 * @throws AccessError PASSWORD_TWICE, PASSWORD_EMPTY; ConfigError when its file cannot be read
 */
export async function knownPassword(options: PasswordOptions, dataDir: string): Promise<string> {
  const { adminPassword: text, adminPasswordFile: file } = checked(options);
  const hint = 'use the configuration of the running hub, as a user who may read its password';
  return text ?? readPassword(file ?? path.join(dataDir, PASSWORD_FILE), hint);
}

function checked(options: PasswordOptions): PasswordOptions {
  const { adminPassword: text, adminPasswordFile: file } = options;
  if (text !== undefined && file !== undefined) {
    throw new AccessError('set access.adminPassword or access.adminPasswordFile, not both', {
      code: 'PASSWORD_TWICE',
    });
  }
  if (text === '') {
    throw new AccessError('access.adminPassword is empty', { code: 'PASSWORD_EMPTY' });
  }
  return options;
}

async function readPassword(file: string, hint = HUB_HINT): Promise<string> {
  const password = (await textOf(file, hint)).replace(/\r?\n$/, '');
  if (password !== '') return password;
  throw new AccessError(`the password file ${file} is empty`, { code: 'PASSWORD_EMPTY', file });
}

async function textOf(file: string, hint: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (err) {
    const message = `cannot be read: ${messageOf(err)}; ${hint}`;
    const problem = { path: 'access.adminPasswordFile', message, origin: undefined };
    throw new ConfigError('hub configuration', [problem]);
  }
}

async function generated(file: string, logger: Logger): Promise<string> {
  if (await make(file)) logger.info({ file }, 'password of the admin made');
  await chmod(file, FILE_MODE);
  return readPassword(file);
}

/** False when there is a password already. A file that is there is whole and on the disk. */
async function make(file: string): Promise<boolean> {
  if (await isThere(file)) return false;
  const temporary = `${file}.${randomBytes(6).toString('hex')}.new`;
  try {
    await writeSynced(temporary, `${randomBytes(PASSWORD_BYTES).toString('base64url')}\n`);
    // A link, unlike a rename, never takes the place of a password that another process just made.
    await link(temporary, file);
    return true;
  } catch (err) {
    if (hasCode(err, 'EEXIST')) return false;
    throw err;
  } finally {
    await rm(temporary, { force: true });
    // Before anybody is told of the password.
    await nodeFolderOps.syncFolder(path.dirname(file));
  }
}

async function writeSynced(file: string, text: string): Promise<void> {
  await using handle = await open(file, 'wx', FILE_MODE);
  await handle.writeFile(text);
  await handle.sync();
}

async function isThere(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return false;
    throw err;
  }
}
