import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { messageOf } from '../../proto/std/errors.ts';
import { KeysError } from './errors.ts';

/** A key that encrypts keys. */
export type SealingKey = {
  /** Tells keys apart and nothing else about them. */
  id: string;
  key: KeyObject;
  /** Where it was read, for messages. */
  file: string;
};

/** What a sealed text is bound to: moved elsewhere it does not open. */
export type SealPlace = { fleetId: string; serial: number };

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ID_CHARS = 16;
const VERSION = 'v1.';
/** Bits of a mode that let others in; a group may read, as Kubernetes mounts a Secret. */
const OPEN_MODE = 0o037;
const HEX = /^[0-9a-f]{64}$/i;
const BASE64 = /^[A-Za-z0-9+/]{43}=?$/;

/**
 * Reads a key: 32 bytes in hex or base64, in a file that is closed to others.
 * @throws KeysError KEY_FILE, which names the file and what is wrong with it
 */
export async function readSealingKey(file: string): Promise<SealingKey> {
  const { text, mode } = await contentOf(file);
  if ((mode & OPEN_MODE) !== 0) {
    throw keyFile(file, `has mode ${(mode & 0o777).toString(8)}; close it to others: chmod 600`);
  }
  const bytes = HEX.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  if (!HEX.test(text) && !BASE64.test(text)) {
    throw keyFile(file, `is not ${KEY_BYTES} bytes in hex or base64: openssl rand -hex 32`);
  }
  const id = createHash('sha256').update('flotilla/sealing-key/v1\0').update(bytes).digest('hex');
  return { id: id.slice(0, ID_CHARS), key: createSecretKey(bytes), file };
}

/** AES-256-GCM under a fresh nonce, bound to its place. */
export function seal(text: string, { key }: SealingKey, place: SealPlace): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce).setAAD(placeBytes(place));
  const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return VERSION + Buffer.concat([nonce, cipher.getAuthTag(), body]).toString('base64');
}

/** @throws KeysError RING_DAMAGED for what the key did not seal for this place */
export function unseal(sealed: string, { key, file }: SealingKey, place: SealPlace): string {
  const bytes = Buffer.from(sealed.slice(VERSION.length), 'base64');
  const body = bytes.subarray(NONCE_BYTES + TAG_BYTES);
  try {
    if (!sealed.startsWith(VERSION)) throw new Error('an unknown version');
    const decipher = createDecipheriv(CIPHER, key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(placeBytes(place));
    decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
    return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new KeysError(
      `the keys in the catalog were changed or are of another fleet, though ${file} is the key ` +
        'they name; restore the catalog',
      { code: 'RING_DAMAGED' },
      { cause },
    );
  }
}

function placeBytes({ fleetId, serial }: SealPlace): Buffer {
  return Buffer.from(`flotilla/sealed-key-ring/v1\0${fleetId}\0${serial}`);
}

async function contentOf(file: string): Promise<{ text: string; mode: number }> {
  try {
    const { mode } = await stat(file);
    return { text: (await readFile(file, 'utf8')).trim(), mode };
  } catch (cause) {
    throw keyFile(file, `cannot be read: ${messageOf(cause)}`, cause);
  }
}

function keyFile(file: string, what: string, cause?: unknown): KeysError {
  return new KeysError(`the key file ${file} ${what}`, { code: 'KEY_FILE' }, { cause });
}
