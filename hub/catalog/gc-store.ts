import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import type {
  Due,
  GcRun,
  GcStore,
  HoldStore,
  IdleBlob,
  LinkFate,
  ManifestFate,
  OrphanStore,
  PurgeStore,
  UntaggedManifest,
  UnusedLink,
} from '../gc/store.ts';
import { noteRun, runOf, runsOf } from './gc-runs.ts';
import { batches, isPurged, link, PURGES, quarantineUnlinked, refusePurged } from './links.ts';
import type { OpenCatalog } from './open-catalog.ts';
import * as holds from './removal-holds.ts';
import type { RegistryTables } from './schema.ts';
import { change, transact, transactEach } from './transact.ts';
import { releaseNamed, settleManifest, untaggedManifests } from './untagged.ts';
import { settleLink, unusedLinks } from './unused-links.ts';

type Database = Kysely<RegistryTables>;
type Write = Transaction<RegistryTables>;
type Times = { beforeMs: number; nowMs: number };

const COLLECTOR = 'blobs';
/** The claim of those who take content down; those of collections are above 0. */
const PURGE = -1;

/** What the collector needs, in the tables of migration 0007. */
export class KyselyGcStore implements GcStore, HoldStore, OrphanStore, PurgeStore {
  readonly #db: Database;
  readonly #manifestsChanged: () => void;

  constructor(catalog: Pick<OpenCatalog, 'db' | 'manifestsChanged'>) {
    this.#db = catalog.db;
    this.#manifestsChanged = () => catalog.manifestsChanged();
  }

  noteRun(run: GcRun): Promise<void> {
    return noteRun(this.#db, run);
  }

  run(id: string): Promise<GcRun | undefined> {
    return runOf(this.#db, id);
  }

  runs(max: number): Promise<GcRun[]> {
    return runsOf(this.#db, max);
  }

  async isTaken(nowMs: number): Promise<boolean> {
    const row = await this.#db
      .selectFrom('collector')
      .select('name')
      .where('name', '=', COLLECTOR)
      .where('held_until_ms', '>', nowMs)
      .executeTakeFirst();
    return row !== undefined;
  }

  untaggedManifests(due: Due<UntaggedManifest>) {
    return untaggedManifests(this.#db, due);
  }

  settleManifests(manifests: readonly UntaggedManifest[], times: Times): Promise<ManifestFate[]> {
    const settling = transactEach(this.#db, manifests, (db, one) => settleManifest(db, one, times));
    return settling.finally(this.#manifestsChanged);
  }

  unusedLinks(due: Due<UnusedLink>) {
    return unusedLinks(this.#db, due);
  }

  settleLinks(links: readonly UnusedLink[], times: Times): Promise<LinkFate[]> {
    return transactEach(this.#db, links, (db, one) => settleLink(db, one, times));
  }

  async adopt(
    blobs: readonly { digest: Digest; size: number }[],
    nowMs: number,
  ): Promise<Digest[]> {
    const adopted: Digest[] = [];
    for (const batch of batches(blobs)) {
      const digests = batch.map(({ digest }) => digest);
      const rows = await this.#db
        .selectFrom('blob')
        .select('digest')
        .where('digest', 'in', digests)
        .execute();
      const known = new Set(rows.map(({ digest }) => digest));
      const values = batch
        .filter(({ digest }) => !known.has(digest))
        .map(({ digest, size }) => ({ digest, size, quarantined_at_ms: nowMs }));
      if (values.length === 0) continue;
      const made = await change(this.#db, (db) =>
        db
          .insertInto('blob')
          .values(values)
          .onConflict((conflict) => conflict.column('digest').doNothing())
          .returning('digest')
          .execute(),
      );
      adopted.push(...made.map(({ digest }) => digest));
    }
    return adopted;
  }

  async idleBlobs({
    beforeMs,
    max,
    after,
  }: Due<Pick<IdleBlob, 'digest' | 'sinceMs'>>): Promise<IdleBlob[]> {
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
      share: holds.REMOVALS,
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

  hold(id: string, times: { untilMs: number; nowMs: number }): Promise<void> {
    return holds.hold(this.#db, id, times);
  }

  keepHold(id: string, times: { untilMs: number; nowMs: number }): Promise<boolean> {
    return holds.keepHold(this.#db, id, times);
  }

  endHold(id: string): Promise<void> {
    return holds.endHold(this.#db, id);
  }

  heldUntil(nowMs: number): Promise<number | undefined> {
    return holds.heldUntil(this.#db, nowMs);
  }

  purge(digest: Digest, nowMs: number): Promise<boolean> {
    const work = async (db: Write): Promise<boolean> => {
      await db
        .insertInto('purged_digest')
        .values({ digest, purged_at_ms: nowMs })
        .onConflict((conflict) => conflict.column('digest').doNothing())
        .execute();
      await db.deleteFrom('purge_acted').execute();
      const { numUpdatedRows } = await db
        .updateTable('blob')
        .set({ deleting: PURGE, quarantined_at_ms: nowMs })
        .where('digest', '=', digest)
        .executeTakeFirst();
      await db.deleteFrom('repository_blob').where('digest', '=', digest).execute();
      const places = await db
        .selectFrom('manifest')
        .select('repository')
        .where('digest', '=', digest)
        .orderBy('repository')
        .execute();
      for (const { repository } of places) await releaseNamed(db, { repository, digest }, nowMs);
      await db.deleteFrom('manifest').where('digest', '=', digest).execute();
      return numUpdatedRows > 0n || places.length > 0;
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

  isPurged(digest: Digest): Promise<boolean> {
    return isPurged(this.#db, digest);
  }

  async noteActed(peerId: string, version: string): Promise<void> {
    await change(this.#db, (db) =>
      db
        .insertInto('purge_acted')
        .values({ peer_id: peerId, version })
        .onConflict((conflict) => conflict.column('peer_id').doUpdateSet({ version }))
        .execute(),
    );
  }

  async acted(version: string): Promise<ReadonlySet<string>> {
    const rows = await this.#db
      .selectFrom('purge_acted')
      .select('peer_id')
      .where('version', '=', version)
      .execute();
    return new Set(rows.map(({ peer_id: peerId }) => peerId));
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
    .where((is) => is.not(is.exists(holds.holdsAt(db, nowMs).select('name'))))
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
