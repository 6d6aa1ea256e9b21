import { createHash, type Hash } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { digestAlgorithm, digestFromBytes, type Digest } from '../../proto/oci/digest.ts';
import { isPassing } from '../../proto/ops/join-token-request.ts';
import { sleep } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import type { BackupClient } from './client.ts';
import { ATTEMPTS_MAX, ATTEMPT_PAUSE_BASE_MS, ATTEMPT_PAUSE_MAX_MS } from './constants.ts';
import { sizeOf } from './folder.ts';
import { slicesOf, writeAll } from './slices.ts';

const FILE_MODE = 0o600;

export type BlobWish = {
  /** Of the backup that is being made. */
  id: string;
  digest: Digest;
  size: number;
  /** Where it is to be; what is in the making has `.new` behind it. */
  target: string;
};

type Modules = {
  client: Pick<BackupClient, 'blob'>;
  onBytes: (count: number) => void;
};

/**
 * Copies one blob and checks it; what an earlier attempt left is gone on with. A blob that has its
 * name is whole and durable. `lost`: the hub has it not, or has other bytes.
 * @throws AdminError when the hub is away for long; errors of node:fs
 */
export async function copyBlob(
  wish: BlobWish,
  modules: Modules,
  { signal }: { signal: AbortSignal },
): Promise<'copied' | 'lost'> {
  const { digest, target } = wish;
  const part = `${target}.new`;
  const left = (await sizeOf(part)) ?? 0;
  if ((await fill(part, wish, modules, signal)) === digest) {
    await rename(part, target);
    return 'copied';
  }
  await rm(part, { force: true });
  // What an earlier attempt left may have been wrong.
  return left > 0 ? copyBlob(wish, modules, { signal }) : 'lost';
}

/** The digest of what is in the file at the end; undefined when the hub has no such blob. */
async function fill(
  part: string,
  wish: BlobWish,
  { client, onBytes }: Modules,
  signal: AbortSignal,
): Promise<Digest | undefined> {
  const { id, digest, size } = wish;
  const algorithm = digestAlgorithm(digest);
  await using file = await open(part, 'a+', FILE_MODE);
  let hash = createHash(algorithm);
  let at = await hashFile(part, hash);
  if (at > size) {
    await file.truncate(0);
    hash = createHash(algorithm);
    at = 0;
  }
  for (let attempt = 1; at < size; attempt += 1) {
    try {
      const body = await client.blob(id, digest, { start: at, signal });
      if (body === undefined) return undefined;
      for await (const bytes of body) {
        signal.throwIfAborted();
        hash.update(bytes);
        await writeAll(file, bytes);
        at += bytes.length;
        onBytes(bytes.length);
      }
      if (at !== size) return undefined;
    } catch (err) {
      signal.throwIfAborted();
      if (!isPassing(err) || attempt >= ATTEMPTS_MAX) throw err;
      await pause(attempt, signal);
    }
  }
  await file.sync();
  return digestFromBytes(algorithm, hash.digest());
}

/** What was written before is read again: it may not have reached the disk. */
async function hashFile(part: string, hash: Hash): Promise<number> {
  let bytes = 0;
  for await (const slice of slicesOf(part)) {
    hash.update(slice);
    bytes += slice.length;
  }
  return bytes;
}

const PAUSE = { baseMs: ATTEMPT_PAUSE_BASE_MS, maxMs: ATTEMPT_PAUSE_MAX_MS };

/** Waits before the next attempt, at most longestPauseMs. Rejects with the reason of the signal. */
export function pause(attempt: number, signal: AbortSignal): Promise<void> {
  return sleep(backoffMs(attempt, PAUSE), { signal });
}

export function longestPauseMs(attempt: number): number {
  return backoffMs(attempt, { ...PAUSE, random: () => 1 });
}
