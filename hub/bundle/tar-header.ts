import { BundleError } from './errors.ts';

// POSIX.1-2024, pax: ustar interchange format, and its extended header records.

/** Bytes of a record; headers and contents take whole ones. */
export const TAR_RECORD = 512;

const NAME_BYTES = 100;
const SIZE_AT = 124;
const SIZE_BYTES = 12;
const CHECKSUM_AT = 148;
const CHECKSUM_BYTES = 8;
const TYPE_AT = 156;
const MAGIC_AT = 257;
const PREFIX_AT = 345;
const PREFIX_BYTES = 155;
/** First size that eleven octal digits do not hold. */
const LARGE = 8 ** 11;
const FILE_MODE = '0000644';
const NOBODY = '0000000';

export type TarHeader = {
  /** As it is written, with its prefix. */
  name: string;
  /** Bytes of the content. */
  size: number;
  type: string;
};

/** Bytes that content of this size takes, with what fills its last record. */
export function padded(size: number): number {
  return Math.ceil(size / TAR_RECORD) * TAR_RECORD;
}

/**
 * What stands before the content of a file: a header, and an extended one before it for a name or
 * a size that it cannot hold.
 */
export function encodeTarHeader({ name, size }: { name: string; size: number }): Buffer {
  const records: [string, string][] = [];
  if (Buffer.byteLength(name) > NAME_BYTES) records.push(['path', name]);
  if (size >= LARGE) records.push(['size', String(size)]);
  const plain = headerOf(name.slice(-NAME_BYTES), size >= LARGE ? 0 : size, '0');
  if (records.length === 0) return plain;
  const body = Buffer.from(records.map(([key, value]) => paxRecord(key, value)).join(''));
  const filled = Buffer.alloc(padded(body.length));
  body.copy(filled);
  return Buffer.concat([headerOf('pax', body.length, 'x'), filled, plain]);
}

function headerOf(name: string, size: number, type: string): Buffer {
  const header = Buffer.alloc(TAR_RECORD);
  header.write(name, 0, 'latin1');
  header.write(FILE_MODE, 100, 'latin1');
  header.write(NOBODY, 108, 'latin1');
  header.write(NOBODY, 116, 'latin1');
  header.write(size.toString(8).padStart(SIZE_BYTES - 1, '0'), SIZE_AT, 'latin1');
  header.write('0'.repeat(SIZE_BYTES - 1), 136, 'latin1');
  header.write(type, TYPE_AT, 'latin1');
  header.write('ustar\x0000', MAGIC_AT, 'latin1');
  header.write(`${checksumOf(header).toString(8).padStart(6, '0')}\0 `, CHECKSUM_AT, 'latin1');
  return header;
}

/** The length that a record begins with counts its own digits. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest);
  while (String(length).length + Buffer.byteLength(rest) !== length) {
    length = String(length).length + Buffer.byteLength(rest);
  }
  return `${length}${rest}`;
}

/**
 * Reads a header; undefined for a record of zeros, which ends an archive.
 * @throws BundleError TAR_INVALID
 */
export function decodeTarHeader(record: Buffer, offset: number): TarHeader | undefined {
  if (record.length !== TAR_RECORD) throw tarInvalid('a header is cut', offset);
  if (record.every((byte) => byte === 0)) return undefined;
  const claimed = octalOf(record.subarray(CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_BYTES));
  if (claimed !== checksumOf(record)) throw tarInvalid('a header has a wrong checksum', offset);
  if (!/^ustar[\0 ]/.test(record.toString('latin1', MAGIC_AT, MAGIC_AT + 6))) {
    throw tarInvalid('a header is not of the ustar format', offset);
  }
  const size = sizeOf(record.subarray(SIZE_AT, SIZE_AT + SIZE_BYTES));
  if (size === undefined) throw tarInvalid('a header has no size', offset);
  const name = textOf(record, 0, NAME_BYTES);
  const isPosix = record[MAGIC_AT + 5] === 0;
  const prefix = isPosix ? textOf(record, PREFIX_AT, PREFIX_BYTES) : '';
  const type = record[TYPE_AT] === 0 ? '0' : record.toString('latin1', TYPE_AT, TYPE_AT + 1);
  return { name: prefix === '' ? name : `${prefix}/${name}`, size, type };
}

/**
 * Name and size out of an extended header; other records are left alone.
 * @throws BundleError TAR_INVALID
 */
export function decodePax(body: Buffer, offset: number): { name?: string; size?: number } {
  const found: { name?: string; size?: number } = {};
  for (let at = 0; at < body.length;) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? '' : body.toString('latin1', at, space);
    const end = at + (/^[1-9]\d{0,6}$/.test(digits) ? Number(digits) : 0);
    if (space <= at || end <= space || end > body.length || body[end - 1] !== 0x0a) {
      throw tarInvalid('an extended header is damaged', offset);
    }
    const text = body.toString('utf8', space + 1, end - 1);
    const equals = text.indexOf('=');
    if (equals < 1) throw tarInvalid('an extended header is damaged', offset);
    const [key, value] = [text.slice(0, equals), text.slice(equals + 1)];
    if (key === 'path') found.name = value;
    if (key === 'size') found.size = decimalOf(value, offset);
    at = end;
  }
  return found;
}

function decimalOf(value: string, offset: number): number {
  const size = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
  if (Number.isSafeInteger(size)) return size;
  throw tarInvalid('an extended header has a size that is none', offset);
}

/** The sum of all bytes, those of the checksum itself taken as spaces. */
function checksumOf(record: Buffer): number {
  let sum = 0;
  for (const [i, byte] of record.entries()) {
    sum += i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES ? 0x20 : byte;
  }
  return sum;
}

/** Octal digits, or what GNU tar writes for larger ones: 0x80, then the number itself. */
function sizeOf(field: Buffer): number | undefined {
  if (field[0] !== 0x80) return octalOf(field);
  const value = field.subarray(1).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

function octalOf(field: Buffer): number | undefined {
  const match = /^ *([0-7]+)[ \0]*$/.exec(field.toString('latin1'));
  return match ? Number.parseInt(match[1] ?? '', 8) : undefined;
}

function textOf(record: Buffer, start: number, length: number): string {
  const field = record.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

export function tarInvalid(what: string, offset: number): BundleError {
  const message = `the archive is damaged: ${what}, at byte ${offset}`;
  return new BundleError(message, { code: 'TAR_INVALID', offset });
}
