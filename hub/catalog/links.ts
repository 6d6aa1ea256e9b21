import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import { STATEMENT_ROWS_MAX } from './constants.ts';
import { CatalogError } from './errors.ts';
import type { NewBlob, NewManifest } from './port.ts';
import type { RegistryTables } from './schema.ts';

// Which repositories have a blob, and whether they use it. Rows are locked in one order, so that
// pushes and the collector never wait for each other in a circle: by digest, and of one digest the
// blob before what the repositories have of it.

type Database = Kysely<RegistryTables>;
type Write = Transaction<RegistryTables>;

/** Held by those who take content down; those who add content share it. */
export const PURGES = 'purges';

export function* batches<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += STATEMENT_ROWS_MAX) {
    yield items.slice(at, at + STATEMENT_ROWS_MAX);
  }
}

export async function createRepository(db: Write, name: string): Promise<void> {
  await db
    .insertInto('repository')
    .values({ name })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .execute();
}

/** See Catalog.pinBlob. */
export async function pinBlob(
  db: Database,
  digest: Digest,
  untilMs: number,
): Promise<'unknown' | 'pinned'> {
  await refusePurged(db, digest);
  const known = db.selectFrom('blob').select('digest').where('digest', '=', digest);
  if ((await known.executeTakeFirst()) === undefined) return 'unknown';
  const { numUpdatedRows } = await db
    .updateTable('blob')
    .set({ pinned_until_ms: untilMs })
    .where('digest', '=', digest)
    .where('deleting', '=', 0)
    .executeTakeFirst();
  if (numUpdatedRows > 0n) return 'pinned';
  if ((await known.executeTakeFirst()) === undefined) return 'unknown';
  throw leaving(digest);
}

/** See Catalog.addBlob. */
export async function addBlob(
  db: Write,
  { digest, size, root, hashes }: NewBlob,
  repository: string,
  nowMs: number,
): Promise<void> {
  const chunks = root && hashes ? { root, hashes } : undefined;
  const { numInsertedOrUpdatedRows = 0n } = await db
    .insertInto('blob')
    .values({ digest, size, root: chunks?.root ?? null, hashes: chunks?.hashes ?? null })
    .onConflict((conflict) =>
      conflict
        .column('digest')
        .doUpdateSet({ ...chunks, quarantined_at_ms: null })
        .where('blob.deleting', '=', 0),
    )
    .executeTakeFirst();
  if (numInsertedOrUpdatedRows === 0n) throw leaving(digest);
  await refusePurged(db, digest);
  await link(db, repository, digest, nowMs);
}

/** See Catalog.linkBlob. */
export async function linkBlob(
  db: Write,
  repository: string,
  digest: Digest,
  nowMs: number,
): Promise<boolean> {
  if (!(await lockBlob(db, digest, 'live'))) return false;
  await link(db, repository, digest, nowMs);
  return true;
}

/** See Catalog.useBlob. */
export async function useBlob(
  db: Database,
  repository: string,
  digest: Digest,
  nowMs: number,
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('repository_blob')
    .set({ unused_since_ms: nowMs })
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .where('unused_since_ms', 'is not', null)
    .executeTakeFirst();
  if (numUpdatedRows > 0n) return true;
  const row = await db
    .selectFrom('repository_blob')
    .select('digest')
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .executeTakeFirst();
  return row !== undefined;
}

/** See Catalog.removeBlobFrom. */
export async function removeLink(
  db: Write,
  repository: string,
  digest: Digest,
  nowMs: number,
): Promise<boolean> {
  await lockBlob(db, digest, 'any');
  const { numDeletedRows } = await db
    .deleteFrom('repository_blob')
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .executeTakeFirst();
  if (numDeletedRows === 0n) return false;
  await noteRemoved(db, repository, digest, nowMs);
  await quarantineUnlinked(db, digest, nowMs);
  return true;
}

/**
 * The blobs that a manifest names are used from now on. Rows that are used already are written
 * too: that is what makes the collector, and a manifest being deleted, wait for this transaction.
 * @throws CatalogError BLOB_UNLINKED when the repository lacks one that is required
 */
export async function useBlobs(
  db: Write,
  { repository, references }: Pick<NewManifest, 'repository' | 'references'>,
): Promise<void> {
  const blobs = references.filter(({ kind }) => kind === 'blob');
  const found = new Set<Digest>();
  for (const batch of batches(blobs.map(({ digest }) => digest).sort())) {
    const rows = await db
      .updateTable('repository_blob')
      .set({ unused_since_ms: null })
      .where('repository', '=', repository)
      .where('digest', 'in', batch)
      .returning('digest')
      .execute();
    for (const { digest } of rows) found.add(digest);
  }
  for (const { digest, required } of blobs) {
    if (required !== true || found.has(digest)) continue;
    throw new CatalogError(`${repository} has no blob ${digest}`, {
      code: 'BLOB_UNLINKED',
      digest,
    });
  }
}

/** A manifest is about to go: what it names may be unused from now on. */
export async function releaseBlobs(
  db: Write,
  repository: string,
  manifest: Digest,
  nowMs: number,
): Promise<void> {
  await releaseThese(db, repository, await blobsOf(db, { repository, digest: manifest }), nowMs);
}

/** Blobs that a manifest names, in the order in which rows are locked. */
export async function blobsOf(
  db: Database,
  { repository, digest }: { repository: string; digest: Digest },
): Promise<Digest[]> {
  const rows = await db
    .selectFrom('manifest_reference')
    .select('digest')
    .where('repository', '=', repository)
    .where('manifest_digest', '=', digest)
    .where('kind', '=', 'blob')
    .orderBy('digest')
    .execute();
  return rows.map((one) => one.digest);
}

/** These may be unused from now on. */
export async function releaseThese(
  db: Write,
  repository: string,
  digests: readonly Digest[],
  nowMs: number,
): Promise<void> {
  for (const batch of batches(digests)) {
    await db
      .updateTable('repository_blob')
      .set({ unused_since_ms: nowMs })
      .where('repository', '=', repository)
      .where('digest', 'in', batch)
      .execute();
  }
}

/** Locks the row of a blob until the end of the transaction; false when there is none. */
export async function lockBlob(db: Write, digest: Digest, which: 'live' | 'any'): Promise<boolean> {
  const rows = db
    .updateTable('blob')
    .set((own) => ({ deleting: own.ref('deleting') }))
    .where('digest', '=', digest);
  const wanted = which === 'any' ? rows : rows.where('quarantined_at_ms', 'is', null);
  return (await wanted.executeTakeFirst()).numUpdatedRows > 0n;
}

/** Locks what a repository has of these until the end of the transaction. */
export async function lockLinks(
  db: Write,
  repository: string,
  digests: readonly Digest[],
): Promise<void> {
  for (const batch of batches(digests)) {
    await db
      .updateTable('repository_blob')
      .set((own) => ({ unused_since_ms: own.ref('unused_since_ms').$castTo<number | null>() }))
      .where('repository', '=', repository)
      .where('digest', 'in', batch)
      .execute();
  }
}

/** Remembers who had a blob, so that it can be given back. */
export async function noteRemoved(
  db: Write,
  repository: string,
  digest: Digest,
  nowMs: number,
): Promise<void> {
  await db
    .insertInto('removed_link')
    .values({ digest, repository, removed_at_ms: nowMs })
    .onConflict((conflict) =>
      conflict.columns(['digest', 'repository']).doUpdateSet({ removed_at_ms: nowMs }),
    )
    .execute();
}

/** A locked blob that no repository has goes into quarantine; its size when it went now. */
export async function quarantineUnlinked(
  db: Write,
  digest: Digest,
  nowMs: number,
): Promise<number | undefined> {
  const linked = await db
    .selectFrom('repository_blob')
    .select('digest')
    .where('digest', '=', digest)
    .limit(1)
    .executeTakeFirst();
  if (linked !== undefined) return undefined;
  const row = await db
    .updateTable('blob')
    .set({ quarantined_at_ms: nowMs })
    .where('digest', '=', digest)
    .where('quarantined_at_ms', 'is', null)
    .returning('size')
    .executeTakeFirst();
  return row && Number(row.size);
}

/** Whether it was taken down. */
export async function isPurged(db: Database, digest: Digest): Promise<boolean> {
  const row = await db
    .selectFrom('purged_digest')
    .select('digest')
    .where('digest', '=', digest)
    .executeTakeFirst();
  return row !== undefined;
}

/** @throws CatalogError PURGED */
export async function refusePurged(db: Database, digest: Digest): Promise<void> {
  if (!(await isPurged(db, digest))) return;
  throw new CatalogError(`${digest} was taken down and is not taken again`, {
    code: 'PURGED',
    digest,
  });
}

export async function link(
  db: Write,
  repository: string,
  digest: Digest,
  nowMs: number,
): Promise<void> {
  await createRepository(db, repository);
  await db
    .insertInto('repository_blob')
    .values({ repository, digest, unused_since_ms: nowMs })
    .onConflict((conflict) =>
      conflict
        .columns(['repository', 'digest'])
        .doUpdateSet({ unused_since_ms: nowMs })
        .where('repository_blob.unused_since_ms', 'is not', null),
    )
    .execute();
}

function leaving(digest: Digest): CatalogError {
  return new CatalogError(`${digest} is being removed this moment; send it again`, {
    code: 'BLOB_LEAVING',
    digest,
  });
}
