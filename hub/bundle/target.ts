import { createHash, type Hash } from 'node:crypto';
import { digestAlgorithm, digestFromBytes } from '../../proto/oci/digest.ts';
import { pause } from '../backup/blob-copy.ts';
import { takeLockFile } from '../../proto/ops/folder-lock.ts';
import { isPassing } from '../../proto/ops/join-token-request.ts';
import { ATTEMPTS_MAX } from '../backup/constants.ts';
import { BundleError } from './errors.ts';
import type { BundleEntry } from './list.ts';

/** Content of an entry from `start` on. */
export type OpenContent = (start: number) => Promise<AsyncIterable<Buffer>>;

/** What is carried: a list and its signature. */
export type Head = { list: Buffer; signature: Buffer };

export type Adding = { signal: AbortSignal; onBytes: (count: number) => void };

/** Where a bundle is written. Until it is finished there is none under its name. */
export interface BundleTarget extends AsyncDisposable {
  /** List and signature of an export that was broken off. */
  left(): Promise<Head | undefined>;
  /** Begins anew; without this call what is left is gone on with. @throws errors of node:fs */
  begin(head: Head): Promise<void>;
  /**
   * Writes an entry, or the rest of it, or nothing when it is there, and checks its digest. Entries
   * come in the same order each time.
   * @throws BundleError CONTENT_LOST; what opening and reading throw; errors of node:fs
   */
  add(entry: BundleEntry, open: OpenContent, adding: Adding): Promise<void>;
  /** Makes it durable and gives it its name. */
  finish(entries: readonly BundleEntry[]): Promise<void>;
}

/** A file in the making. */
export type Part = {
  /** Reads what is there of this entry, up to its size. */
  read(): AsyncIterable<Buffer>;
  write(bytes: Buffer, at: number): Promise<void>;
};

/**
 * Fills a file up with what is missing. What an earlier attempt left is read again and may be
 * wrong: then it is written anew.
 * @throws BundleError CONTENT_LOST
 */
export async function fill(
  entry: BundleEntry,
  part: Part,
  open: OpenContent,
  adding: Adding,
): Promise<void> {
  const { digest, size } = entry;
  const left = createHash(digestAlgorithm(digest));
  let have = 0;
  for await (const slice of part.read()) {
    left.update(slice);
    have += slice.length;
  }
  const from = have <= size ? { hash: left, at: have } : undefined;
  if (from !== undefined && (await isFilled(entry, from, { part, open, adding }))) return;
  const fresh = { hash: createHash(digestAlgorithm(digest)), at: 0 };
  if (have > 0 && (await isFilled(entry, fresh, { part, open, adding }))) return;
  const message = `the hub has lost ${digest}, or has other bytes for it; push it again`;
  throw new BundleError(message, { code: 'CONTENT_LOST', digest });
}

async function isFilled(
  { digest, size }: BundleEntry,
  { hash, at: start }: { hash: Hash; at: number },
  modules: { part: Part; open: OpenContent; adding: Adding },
): Promise<boolean> {
  const { part, open, adding } = modules;
  const { signal, onBytes } = adding;
  let at = start;
  for (let attempt = 1; at < size; attempt += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next try is for when this one failed
      for await (const bytes of await open(at)) {
        signal.throwIfAborted();
        if (at + bytes.length > size) return false;
        hash.update(bytes);
        await part.write(bytes, at);
        at += bytes.length;
        onBytes(bytes.length);
      }
      if (at < size) return false;
    } catch (err) {
      signal.throwIfAborted();
      if (!isPassing(err) || attempt >= ATTEMPTS_MAX) throw err;
      // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next try
      await pause(attempt, signal);
    }
  }
  return digestFromBytes(digestAlgorithm(digest), hash.digest()) === digest;
}

export function targetExists(target: string, what: string): BundleError {
  return new BundleError(`${target} ${what}`, { code: 'TARGET_EXISTS', target });
}

/**
 * Takes a place for one export; what a killed one held is free. `file`: the lock, gone afterwards.
 * @throws BundleError TARGET_BUSY; OpsError FOLDER_UNUSABLE; errors of node:fs
 */
export async function claimTarget(target: string, file: string): Promise<AsyncDisposable> {
  const lock = await takeLockFile(file);
  if (lock !== undefined) return lock;
  const message = `another export writes ${target} now; wait for its end, or name another place`;
  throw new BundleError(message, { code: 'TARGET_BUSY', target });
}
