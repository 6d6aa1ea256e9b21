import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Due, LinkFate, UnusedLink } from '../gc/store.ts';
import { lockBlob, lockLinks, noteRemoved, quarantineUnlinked } from './links.ts';
import type { RegistryTables } from './schema.ts';

// Blobs that repositories have and no manifest of theirs names.

type Database = Kysely<RegistryTables>;
type Write = Transaction<RegistryTables>;
type Times = { beforeMs: number; nowMs: number };

/** See GcStore.unusedLinks. */
export async function unusedLinks(
  db: Database,
  { beforeMs, max, after }: Due<UnusedLink>,
): Promise<(UnusedLink & { size: number; used: boolean })[]> {
  const due = db
    .selectFrom('repository_blob as own')
    .innerJoin('blob', 'blob.digest', 'own.digest')
    .select(['own.repository', 'own.digest', 'own.unused_since_ms', 'blob.size'])
    .select((is) =>
      is
        .case()
        .when(
          is.exists(
            is
              .selectFrom('manifest_reference as reference')
              .select('reference.digest')
              .whereRef('reference.repository', '=', 'own.repository')
              .whereRef('reference.digest', '=', 'own.digest')
              .where('reference.kind', '=', 'blob'),
          ),
        )
        .then(1)
        .else(0)
        .end()
        .as('used'),
    )
    .where('own.unused_since_ms', '<=', beforeMs);
  const rest =
    after === undefined
      ? due
      : due.where((is) =>
          is(
            is.refTuple('own.unused_since_ms', 'own.digest', 'own.repository'),
            '>',
            is.tuple(after.sinceMs, after.digest, after.repository),
          ),
        );
  const rows = await rest
    .orderBy('own.unused_since_ms')
    .orderBy('own.digest')
    .orderBy('own.repository')
    .limit(max)
    .execute();
  return rows.map(({ repository, digest, unused_since_ms, size, used }) => {
    const sinceMs = Number(unused_since_ms);
    return { repository, digest, sinceMs, size: Number(size), used: used > 0 };
  });
}

/** Decides on one link. The blob is locked first: a mount waits for this, or this for the mount. */
export async function settleLink(
  db: Write,
  one: UnusedLink,
  { beforeMs, nowMs }: Times,
): Promise<LinkFate> {
  const { repository, digest } = one;
  await lockBlob(db, digest, 'any');
  // What the next statement sees is then what the last push or delete of this link left.
  await lockLinks(db, repository, [digest]);
  const due = { repository, digest, beforeMs };
  const gone = await db
    .deleteFrom('repository_blob')
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .where('unused_since_ms', '<=', beforeMs)
    .where((is) => is.not(is.exists(usesOf(db, repository, digest))))
    .executeTakeFirst();
  if (gone.numDeletedRows === 0n) return { fate: await keep(db, due) };
  await noteRemoved(db, repository, digest, nowMs);
  const quarantined = await quarantineUnlinked(db, digest, nowMs);
  return { fate: 'removed', ...(quarantined === undefined ? {} : { quarantined }) };
}

async function keep(
  db: Write,
  { repository, digest, beforeMs }: { repository: string; digest: Digest; beforeMs: number },
): Promise<'used' | 'fresh'> {
  const { numUpdatedRows } = await db
    .updateTable('repository_blob')
    .set({ unused_since_ms: null })
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .where('unused_since_ms', '<=', beforeMs)
    .where((is) => is.exists(usesOf(db, repository, digest)))
    .executeTakeFirst();
  return numUpdatedRows > 0n ? 'used' : 'fresh';
}

function usesOf(db: Write, repository: string, digest: Digest) {
  return db
    .selectFrom('manifest_reference')
    .select('digest')
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .where('kind', '=', 'blob')
    .limit(1);
}
