import { hash } from 'node:crypto';
import { BLOB_MAX_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { STATEMENT_MAX_BYTES } from '../../proto/chunks/statement.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { BlobOrigin, CreateBlob } from './port.ts';

/** Name and version of the format; a file of another version is dropped with its blob. */
const MAGIC = Buffer.from('flotilla/blob-meta/1\n', 'latin1');
const CHECKSUM_BYTES = 32;
const NAME_MAX_CHARS = 512;

type Head = { digest: string; size: number; statementBytes: number; origin?: BlobOrigin };

/** Magic | SHA-256 of the rest | head length u32 | head JSON | statement | chunk hashes. */
export function encodeMeta(blob: CreateBlob): Buffer {
  const head: Head = {
    digest: blob.digest,
    size: blob.size,
    statementBytes: blob.statement.length,
    ...(blob.origin === undefined ? {} : { origin: blob.origin }),
  };
  const json = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  const rest = Buffer.concat([length, json, blob.statement, blob.hashes]);
  return Buffer.concat([MAGIC, hash('sha256', rest, 'buffer'), rest]);
}

/** What encodeMeta wrote for this digest; undefined for anything damaged or of another kind. */
export function decodeMeta(bytes: Buffer, digest: Digest): CreateBlob | undefined {
  const restAt = MAGIC.length + CHECKSUM_BYTES;
  if (bytes.length < restAt + 4 || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const rest = bytes.subarray(restAt);
  const checksum = bytes.subarray(MAGIC.length, restAt);
  if (!hash('sha256', rest, 'buffer').equals(checksum)) return undefined;
  const jsonEnd = 4 + rest.readUInt32BE(0);
  const head = readHead(rest.subarray(4, jsonEnd));
  if (head?.digest !== digest) return undefined;
  const statementEnd = jsonEnd + head.statementBytes;
  const hashes = Buffer.from(rest.subarray(statementEnd));
  if (hashes.length !== layoutOf(head.size).chunkCount * HASH_BYTES) return undefined;
  const statement = Buffer.from(rest.subarray(jsonEnd, statementEnd));
  return { digest, size: head.size, statement, hashes, origin: head.origin };
}

function readHead(json: Buffer): Head | undefined {
  let head: unknown;
  try {
    head = JSON.parse(json.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof head !== 'object' || head === null) return undefined;
  const { digest, size, statementBytes, origin } = head as Partial<Record<keyof Head, unknown>>;
  if (typeof digest !== 'string' || !isCount(size) || !isCount(statementBytes)) return undefined;
  if (statementBytes > STATEMENT_MAX_BYTES || size > BLOB_MAX_BYTES) return undefined;
  return { digest, size, statementBytes, ...readOrigin(origin) };
}

function readOrigin(value: unknown): { origin?: BlobOrigin } {
  if (typeof value !== 'object' || value === null) return {};
  const { namespace, repository } = value as Partial<Record<keyof BlobOrigin, unknown>>;
  if (typeof namespace !== 'string' || typeof repository !== 'string') return {};
  if (namespace.length > NAME_MAX_CHARS || repository.length > NAME_MAX_CHARS) return {};
  return { origin: { namespace, repository } };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
