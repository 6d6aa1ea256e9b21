import type { ExpressionBuilder, Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Due, ManifestFate, UntaggedManifest } from '../gc/store.ts';
import { CatalogError } from './errors.ts';
import { batches, blobsOf, lockLinks, releaseBlobs, releaseThese } from './links.ts';
import type { NewManifest } from './port.ts';
import type { RegistryTables } from './schema.ts';

// Which manifests no tag, no index and no subject may reach any more. One that is reached is never
// deleted, whatever its mark says: the mark only tells the collector where to look. Rows are locked
// in the order of a push: blobs of the repository, manifests that are named, the manifest.

type Database = Kysely<RegistryTables>;
type Write = Transaction<RegistryTables>;
type Place = { repository: string; digest: Digest };

/**
 * Manifests that an index names are there until the end of the transaction: the collector waits.
 * @throws CatalogError BLOB_UNLINKED when the repository lacks one that is required
 */
export async function useManifests(
  db: Write,
  { repository, references }: Pick<NewManifest, 'repository' | 'references'>,
): Promise<void> {
  const named = references.filter(({ kind }) => kind === 'manifest');
  const found = new Set<Digest>();
  for (const batch of batches(named.map(({ digest }) => digest).sort())) {
    const rows = await lockManifests(db, repository)
      .where('digest', 'in', batch)
      .returning('digest')
      .execute();
    for (const { digest } of rows) found.add(digest);
  }
  for (const { digest, required } of named) {
    if (required !== true || found.has(digest)) continue;
    throw new CatalogError(`${repository} has no manifest ${digest}`, {
      code: 'BLOB_UNLINKED',
      digest,
    });
  }
}

/** These tags are about to name another manifest. */
export async function releaseTags(
  db: Write,
  {
    repository,
    digest,
    tags,
  }: Pick<NewManifest, 'repository' | 'digest'> & {
    tags: readonly string[];
  },
  nowMs: number,
): Promise<void> {
  const named = db
    .selectFrom('tag')
    .select('digest')
    .where('repository', '=', repository)
    .where('name', 'in', tags)
    .where('digest', '!=', digest);
  await db
    .updateTable('manifest')
    .set({ untagged_since_ms: nowMs })
    .where('repository', '=', repository)
    .where('digest', 'in', named)
    .execute();
}

/** A tag of this manifest is gone. */
export async function releaseManifest(
  db: Write,
  { repository, digest }: Place,
  nowMs: number,
): Promise<void> {
  await db
    .updateTable('manifest')
    .set({ untagged_since_ms: nowMs })
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .execute();
}

/** A manifest is about to go: what it names and what refers to it may be of no use from now on. */
export async function releaseNamed(
  db: Write,
  { repository, digest }: Place,
  nowMs: number,
): Promise<void> {
  await releaseBlobs(db, repository, digest, nowMs);
  const named = await namedBy(db, { repository, digest });
  for (const batch of batches(named)) {
    await db
      .updateTable('manifest')
      .set({ untagged_since_ms: nowMs })
      .where('repository', '=', repository)
      .where('digest', 'in', batch)
      .execute();
  }
}

/** See GcStore.untaggedManifests. */
export async function untaggedManifests(
  db: Database,
  { beforeMs, max, after }: Due<UntaggedManifest>,
): Promise<(UntaggedManifest & { size: number; used: boolean })[]> {
  const due = db
    .selectFrom('manifest')
    .select(['repository', 'digest', 'untagged_since_ms'])
    .select((is) => [
      is.fn<number | string>('length', ['bytes']).as('size'),
      is.case().when(reached(is)).then(1).else(0).end().as('used'),
    ])
    .where('untagged_since_ms', '<=', beforeMs);
  const rest =
    after === undefined
      ? due
      : due.where((is) =>
          is(
            is.refTuple('untagged_since_ms', 'digest', 'repository'),
            '>',
            is.tuple(after.sinceMs, after.digest, after.repository),
          ),
        );
  const rows = await rest
    .orderBy('untagged_since_ms')
    .orderBy('digest')
    .orderBy('repository')
    .limit(max)
    .execute();
  return rows.map(({ repository, digest, untagged_since_ms, size, used }) => {
    const sinceMs = Number(untagged_since_ms);
    return { repository, digest, sinceMs, size: Number(size), used: used > 0 };
  });
}

/**
 * Deletes a manifest that nothing reaches, in a transaction of its own. What only it reached was
 * of no use for as long as it was.
 */
export async function settleManifest(
  db: Write,
  { repository, digest }: Place,
  { beforeMs, nowMs }: { beforeMs: number; nowMs: number },
): Promise<ManifestFate> {
  const blobs = await blobsOf(db, { repository, digest });
  // Before the manifest, as a push does it.
  await lockLinks(db, repository, blobs);
  const own = await lockManifests(db, repository)
    .where('digest', '=', digest)
    .where('untagged_since_ms', '<=', beforeMs)
    .returning('untagged_since_ms')
    .executeTakeFirst();
  if (own === undefined) return 'fresh';
  const sinceMs = Number(own.untagged_since_ms);
  const named = await namedBy(db, { repository, digest });
  // What this sees is what the last push, or the last to delete a tag, left.
  const { numDeletedRows } = await db
    .deleteFrom('manifest')
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .where((is) => is.not(reached(is)))
    .executeTakeFirst();
  if (numDeletedRows === 0n) {
    await markReached(db, { repository, digest });
    return 'used';
  }
  await releaseThese(db, repository, blobs, nowMs);
  for (const batch of batches(named)) {
    await db
      .updateTable('manifest')
      .set({ untagged_since_ms: sinceMs })
      .where('repository', '=', repository)
      .where('digest', 'in', batch)
      .where((is) =>
        is.or([is('untagged_since_ms', 'is', null), is('untagged_since_ms', '<', sinceMs)]),
      )
      .execute();
  }
  return 'removed';
}

async function markReached(db: Write, { repository, digest }: Place): Promise<void> {
  await db
    .updateTable('manifest')
    .set({ untagged_since_ms: null })
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .execute();
}

/** Whether a tag, a manifest of the repository, or a subject that is there reaches a manifest. */
function reached(is: ExpressionBuilder<RegistryTables, 'manifest'>) {
  return is.or([
    is.exists(
      is
        .selectFrom('tag')
        .select('tag.name')
        .whereRef('tag.repository', '=', 'manifest.repository')
        .whereRef('tag.digest', '=', 'manifest.digest'),
    ),
    is.exists(
      is
        .selectFrom('manifest_reference as naming')
        .select('naming.digest')
        .whereRef('naming.repository', '=', 'manifest.repository')
        .whereRef('naming.digest', '=', 'manifest.digest')
        .where('naming.kind', '=', 'manifest'),
    ),
    is.exists(
      is
        .selectFrom('manifest as other')
        .select('other.digest')
        .whereRef('other.repository', '=', 'manifest.repository')
        .whereRef('other.digest', '=', 'manifest.subject'),
    ),
  ]);
}

/** Manifests that this one names, and those whose subject it is. */
async function namedBy(db: Write, { repository, digest }: Place): Promise<Digest[]> {
  const children = await db
    .selectFrom('manifest_reference')
    .select('digest')
    .where('repository', '=', repository)
    .where('manifest_digest', '=', digest)
    .where('kind', '=', 'manifest')
    .execute();
  const referrers = await db
    .selectFrom('manifest')
    .select('digest')
    .where('repository', '=', repository)
    .where('subject', '=', digest)
    .execute();
  return [...children, ...referrers].map((one) => one.digest).sort();
}

function lockManifests(db: Write, repository: string) {
  return db
    .updateTable('manifest')
    .set((own) => ({ untagged_since_ms: own.ref('untagged_since_ms').$castTo<number | null>() }))
    .where('repository', '=', repository);
}
