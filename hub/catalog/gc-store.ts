import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import type {
  Due,
  GcStore,
  HoldStore,
  IdleBlob,
  LinkFate,
  PurgeStore,
  UnusedLink,
} from '../gc/store.ts';
import { link, lockBlob, noteRemoved, PURGES, quarantineUnlinked, refusePurged } from './links.ts';
import type { OpenCatalog } from './open-catalog.ts';
import type { RegistryTables } from './schema.ts';
import { transact } from './transact.ts';

type Database = Kysely<RegistryTables>;
type Write = Transaction<RegistryTables>;
type Times = { beforeMs: number; nowMs: number };

const COLLECTOR = 'blobs';
/** Names of rows that hold removals off begin with this; the second sorts after all of them. */
const HOLD = 'hold ';
const AFTER_HOLDS = 'hold!';
/** Held by who holds removals off; those who claim blobs share it. */
const REMOVALS = 'removals';
/** The claim of those who take content down; those of collections are above 0. */
const PURGE = -1;

/** What the collector needs, in the tables of migration 0007. */
export class KyselyGcStore implements GcStore, HoldStore, PurgeStore {
  readonly #db: Database;
  readonly #manifestsChanged: () => void;

  constructor(catalog: Pick<OpenCatalog, 'db' | 'manifestsChanged'>) {
    this.#db = catalog.db;
    this.#manifestsChanged = () => catalog.manifestsChanged();
  }

  async unusedLinks({
    beforeMs,
    max,
    after,
  }: Due<UnusedLink>): Promise<(UnusedLink & { size: number; used: boolean })[]> {
    const due = this.#db
      .selectFrom('repository_blob as own')
      .innerJoin('blob', 'blob.digest', 'own.digest')
      .select(['own.repository', 'own.digest', 'own.unused_since_ms', 'blob.size'])
      .select((is) =>
        is
          .selectFrom('manifest_reference as reference')
          .select(is.fn.countAll().as('n'))
          .whereRef('reference.repository', '=', 'own.repository')
          .whereRef('reference.digest', '=', 'own.digest')
          .where('reference.kind', '=', 'blob')
          .as('uses'),
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
    return rows.map(({ repository, digest, unused_since_ms, size, uses }) => {
      const sinceMs = Number(unused_since_ms);
      return { repository, digest, sinceMs, size: Number(size), used: Number(uses) > 0 };
    });
  }

  settleLinks(links: readonly UnusedLink[], times: Times): Promise<LinkFate[]> {
    const inOrder = links.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    return transact(this.#db, async (db) => {
      const fates: LinkFate[] = [];
      for (const one of inOrder) fates.push(await settle(db, one, times));
      return fates;
    });
  }

  async idleBlobs({ beforeMs, max, after }: Due<IdleBlob>): Promise<IdleBlob[]> {
    const due = this.#db
      .selectFrom('blob')
      .select(['digest', 'size', 'quarantined_at_ms'])
      .where('quarantined_at_ms', '<=', beforeMs);
    const rest =
      after === undefined
        ? due
        : due.where((is) =>
            is(
              is.refTuple('quarantined_at_ms', 'digest'),
              '>',
              is.tuple(after.sinceMs, after.digest),
            ),
          );
    const rows = await rest.orderBy('quarantined_at_ms').orderBy('digest').limit(max).execute();
    return rows.map(({ digest, size, quarantined_at_ms }) => {
      return { digest, size: Number(size), sinceMs: Number(quarantined_at_ms) };
    });
  }

  async claimBlobs(
    blobs: readonly IdleBlob[],
    { claim, beforeMs, nowMs }: Times & { claim: number },
  ): Promise<Digest[]> {
    if (blobs.length === 0) return [];
    return transact(this.#db, (db) => claimBlobs(db, blobs, { claim, beforeMs, nowMs }), {
      share: REMOVALS,
    });
  }

  forgetBlobs(digests: readonly Digest[], claim: number): Promise<void> {
    if (digests.length === 0) return Promise.resolve();
    return transact(this.#db, async (db) => {
      const gone = await db
        .deleteFrom('blob')
        .where('digest', 'in', digests.toSorted())
        .where('deleting', '=', claim)
        .returning('digest')
        .execute();
      if (gone.length === 0) return;
      await db
        .deleteFrom('removed_link')
        .where(
          'digest',
          'in',
          gone.map(({ digest }) => digest),
        )
        .execute();
    });
  }

  async unclaimBlobs(digests: readonly Digest[], claim: number): Promise<void> {
    if (digests.length === 0) return;
    await this.#db
      .updateTable('blob')
      .set({ deleting: 0 })
      .where('digest', 'in', digests.toSorted())
      .where('deleting', '=', claim)
      .execute();
  }

  async forgetLinks(beforeMs: number): Promise<void> {
    await this.#db.deleteFrom('removed_link').where('removed_at_ms', '<', beforeMs).execute();
  }

  restore(digest: Digest, nowMs: number): Promise<string[] | undefined> {
    const work = async (db: Write): Promise<string[] | undefined> => {
      await refusePurged(db, digest);
      const { numUpdatedRows } = await db
        .updateTable('blob')
        .set({ quarantined_at_ms: null })
        .where('digest', '=', digest)
        .where('quarantined_at_ms', 'is not', null)
        .where('deleting', '=', 0)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) return undefined;
      const rows = await db
        .selectFrom('removed_link')
        .select('repository')
        .where('digest', '=', digest)
        .orderBy('repository')
        .execute();
      for (const { repository } of rows) await link(db, repository, digest, nowMs);
      await db.deleteFrom('removed_link').where('digest', '=', digest).execute();
      if (rows.length === 0) await quarantineUnlinked(db, digest, nowMs);
      return rows.map(({ repository }) => repository);
    };
    return transact(this.#db, work, { share: PURGES });
  }

  async take(lease: Parameters<GcStore['take']>[0]): Promise<number | undefined> {
    const { holder, nowMs, untilMs, dueMs } = lease;
    await this.#db
      .insertInto('collector')
      .values({ name: COLLECTOR, holder: '', held_until_ms: 0, epoch: 0, begun_at_ms: 0 })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .execute();
    const row = await this.#db
      .updateTable('collector')
      .set((own) => ({
        holder,
        held_until_ms: untilMs,
        begun_at_ms: nowMs,
        epoch: own('epoch', '+', 1),
      }))
      .where('name', '=', COLLECTOR)
      .where('held_until_ms', '<=', nowMs)
      .where('begun_at_ms', '<=', dueMs)
      .returning('epoch')
      .executeTakeFirst();
    return row?.epoch;
  }

  async keep({ holder, untilMs }: { holder: string; untilMs: number }): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
      .updateTable('collector')
      .set({ held_until_ms: untilMs })
      .where('name', '=', COLLECTOR)
      .where('holder', '=', holder)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async release(holder: string): Promise<void> {
    await this.#db
      .updateTable('collector')
      .set({ held_until_ms: 0, holder: '' })
      .where('name', '=', COLLECTOR)
      .where('holder', '=', holder)
      .execute();
  }

  hold(id: string, { untilMs, nowMs }: { untilMs: number; nowMs: number }): Promise<void> {
    const row = { name: `${HOLD}${id}`, holder: '', epoch: 0, begun_at_ms: nowMs };
    const work = async (db: Write): Promise<void> => {
      await db
        .deleteFrom('collector')
        .where('name', '>=', HOLD)
        .where('name', '<', AFTER_HOLDS)
        .where('held_until_ms', '<=', nowMs)
        .execute();
      await db
        .insertInto('collector')
        .values({ ...row, held_until_ms: untilMs })
        .execute();
    };
    return transact(this.#db, work, { lock: REMOVALS });
  }

  async keepHold(id: string, { untilMs, nowMs }: { untilMs: number; nowMs: number }) {
    const { numUpdatedRows } = await this.#db
      .updateTable('collector')
      .set({ held_until_ms: untilMs })
      .where('name', '=', `${HOLD}${id}`)
      .where('held_until_ms', '>', nowMs)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async endHold(id: string): Promise<void> {
    await this.#db.deleteFrom('collector').where('name', '=', `${HOLD}${id}`).execute();
  }

  async heldUntil(nowMs: number): Promise<number | undefined> {
    const row = await holdsAt(this.#db, nowMs)
      .select((is) => is.fn.max('held_until_ms').as('until'))
      .executeTakeFirst();
    return row?.until === undefined || row.until === null ? undefined : Number(row.until);
  }

  purge(digest: Digest, nowMs: number): Promise<boolean> {
    const work = async (db: Write): Promise<boolean> => {
      await db
        .insertInto('purged_digest')
        .values({ digest, purged_at_ms: nowMs })
        .onConflict((conflict) => conflict.column('digest').doNothing())
        .execute();
      const { numUpdatedRows } = await db
        .updateTable('blob')
        .set({ deleting: PURGE, quarantined_at_ms: nowMs })
        .where('digest', '=', digest)
        .executeTakeFirst();
      await db.deleteFrom('repository_blob').where('digest', '=', digest).execute();
      await db.deleteFrom('manifest').where('digest', '=', digest).execute();
      return numUpdatedRows > 0n;
    };
    const purged = transact(this.#db, work, { lock: PURGES });
    return purged.finally(this.#manifestsChanged);
  }

  async lift(digest: Digest): Promise<boolean> {
    const { numDeletedRows } = await this.#db
      .deleteFrom('purged_digest')
      .where('digest', '=', digest)
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async isPurged(digest: Digest): Promise<boolean> {
    const row = await this.#db
      .selectFrom('purged_digest')
      .select('digest')
      .where('digest', '=', digest)
      .executeTakeFirst();
    return row !== undefined;
  }

  forgetPurged(digest: Digest): Promise<void> {
    return this.forgetBlobs([digest], PURGE);
  }

  async purged(max: number): Promise<Digest[]> {
    const rows = await this.#db
      .selectFrom('purged_digest')
      .select('digest')
      .orderBy('digest')
      .limit(max)
      .execute();
    return rows.map(({ digest }) => digest);
  }
}

async function claimBlobs(
  db: Write,
  blobs: readonly IdleBlob[],
  { claim, beforeMs, nowMs }: Times & { claim: number },
): Promise<Digest[]> {
  const rows = await db
    .updateTable('blob')
    .set({ deleting: claim })
    .where((is) =>
      is.or(
        blobs.map(({ digest, sinceMs }) =>
          is.and([is('digest', '=', digest), is('quarantined_at_ms', '=', sinceMs)]),
        ),
      ),
    )
    .where('quarantined_at_ms', '<=', beforeMs)
    .where('pinned_until_ms', '<=', nowMs)
    .where((is) => is.not(is.exists(holdsAt(db, nowMs).select('name'))))
    .where((is) =>
      is.not(
        is.exists(
          is
            .selectFrom('repository_blob as own')
            .select('own.digest')
            .whereRef('own.digest', '=', 'blob.digest'),
        ),
      ),
    )
    .returning('digest')
    .execute();
  return rows.map(({ digest }) => digest);
}

/** What holds removals off. */
function holdsAt(db: Database, nowMs: number) {
  return db
    .selectFrom('collector')
    .where('name', '>=', HOLD)
    .where('name', '<', AFTER_HOLDS)
    .where('held_until_ms', '>', nowMs);
}

async function lockLink(db: Write, repository: string, digest: Digest): Promise<void> {
  await db
    .updateTable('repository_blob')
    .set((own) => ({ unused_since_ms: own.ref('unused_since_ms').$castTo<number | null>() }))
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .execute();
}

/** The blob is locked first: a mount of it waits, or this waits for the mount. */
async function settle(db: Write, one: UnusedLink, { beforeMs, nowMs }: Times): Promise<LinkFate> {
  const { repository, digest } = one;
  await lockBlob(db, digest, 'any');
  // What the next statement sees is then what the last push or delete of this link left.
  await lockLink(db, repository, digest);
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
