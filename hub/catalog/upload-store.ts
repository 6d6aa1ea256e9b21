import type { ColumnType, Kysely, Selectable } from 'kysely';
import type {
  UploadHold,
  UploadRecord,
  UploadStore,
  UploadTarget,
} from '../registry/upload-store.ts';
import { batches } from './links.ts';
import type { Big } from './schema.ts';
import { change, transact } from './transact.ts';

/** Tables of migration 0004. */
export type UploadTables = {
  upload_session: {
    id: string;
    repository: string;
    subject: string;
    /** What the driver of the blob store made of it. */
    state: string;
    size: Big;
    epoch: number;
    /** The hub whose request writes to it, or did last. */
    holder: string;
    held_until_ms: Big;
    used_at_ms: Big;
    expires_at_ms: Big;
  };
  upload_leaves: {
    session: string;
    first: number;
    hashes: ColumnType<Uint8Array, Uint8Array, Uint8Array>;
  };
};

type Row = Pick<
  Selectable<UploadTables['upload_session']>,
  'id' | 'repository' | 'subject' | 'state' | 'size'
>;

type TakeWish = Parameters<UploadStore['takeIdle']>[0];

const RECORD = ['id', 'repository', 'subject', 'state', 'size'] as const;
const FREE = 0;

function recordOf({ id, repository, subject, state, size }: Row): UploadRecord {
  return { id, repository, subject, state, size: Number(size) };
}

/** Uploads under way, in the tables of migration 0004. */
export class KyselyUploadStore implements UploadStore {
  readonly #db: Kysely<UploadTables>;
  readonly #shared: boolean;

  /** Not `shared`: one process uses these tables, and keeps its own requests apart. */
  constructor(options: { shared: boolean }, modules: { db: Kysely<UploadTables> }) {
    this.#shared = options.shared;
    this.#db = modules.db;
  }

  async create(
    record: UploadRecord,
    { nowMs, expiresAtMs }: { nowMs: number; expiresAtMs: number },
  ): Promise<void> {
    const { id, repository, subject, state, size } = record;
    const row = {
      id,
      repository,
      subject,
      state,
      size,
      epoch: 0,
      holder: '',
      held_until_ms: FREE,
      used_at_ms: nowMs,
      expires_at_ms: expiresAtMs,
    };
    await change(this.#db, (db) => db.insertInto('upload_session').values(row).execute());
  }

  async find(target: UploadTarget): Promise<UploadRecord | undefined> {
    const row = await this.#find(target);
    return row && recordOf(row);
  }

  async hold(
    target: UploadTarget,
    { holder, nowMs, untilMs }: { holder: string; nowMs: number; untilMs: number },
  ): Promise<(UploadRecord & { epoch: number }) | 'unknown' | 'held'> {
    if (!this.#shared) {
      // Each write costs a sync of the disk, and there is nobody to tell.
      const found = await this.#find(target);
      return found ? { ...recordOf(found), epoch: found.epoch + 1 } : 'unknown';
    }
    const row = await this.#db
      .updateTable('upload_session')
      .set((expression) => ({
        epoch: expression('epoch', '+', 1),
        holder,
        held_until_ms: untilMs,
      }))
      .where('id', '=', target.id)
      .where('repository', '=', target.repository)
      .where('subject', '=', target.subject)
      .where('held_until_ms', '<', nowMs)
      .returning([...RECORD, 'epoch'])
      .executeTakeFirst();
    if (row !== undefined) return { ...recordOf(row), epoch: row.epoch };
    return (await this.find(target)) === undefined ? 'unknown' : 'held';
  }

  async extend(hold: UploadHold, untilMs: number): Promise<boolean> {
    const { numUpdatedRows } = await this.#held(hold)
      .set({ held_until_ms: untilMs })
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  async save(hold: UploadHold, progress: Parameters<UploadStore['save']>[1]): Promise<boolean> {
    const { state, size, leaves, nowMs, expiresAtMs, heldUntilMs = FREE } = progress;
    const set = {
      state,
      size,
      epoch: hold.epoch,
      held_until_ms: heldUntilMs,
      used_at_ms: nowMs,
      expires_at_ms: expiresAtMs,
    };
    if (leaves === undefined) {
      const { numUpdatedRows } = await change(this.#db, (db) =>
        this.#held(hold, db).set(set).executeTakeFirst(),
      );
      return numUpdatedRows > 0n;
    }
    return transact(this.#db, async (db) => {
      const { numUpdatedRows } = await this.#held(hold, db).set(set).executeTakeFirst();
      if (numUpdatedRows === 0n) return false;
      const row = { session: hold.id, first: leaves.first, hashes: leaves.hashes };
      await db.insertInto('upload_leaves').values(row).execute();
      return true;
    });
  }

  async letGo(hold: UploadHold): Promise<void> {
    await this.#held(hold).set({ held_until_ms: FREE }).execute();
  }

  async remove({ id, epoch }: UploadHold): Promise<void> {
    await this.#db
      .deleteFrom('upload_session')
      .where('id', '=', id)
      .where('epoch', '<=', epoch)
      .execute();
  }

  async leaves(id: string): Promise<Buffer> {
    const rows = await this.#db
      .selectFrom('upload_leaves')
      .select('hashes')
      .where('session', '=', id)
      .orderBy('first')
      .execute();
    return Buffer.concat(rows.map(({ hashes }) => hashes));
  }

  takeExpired(nowMs: number, max: number): Promise<UploadRecord[]> {
    const wish = { subject: undefined, busy: [], nowMs, beforeMs: nowMs, max };
    return this.#take('expires_at_ms', wish);
  }

  takeIdle(wish: TakeWish): Promise<UploadRecord[]> {
    return this.#take('used_at_ms', wish);
  }

  async known(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const found = new Set<string>();
    for (const batch of batches(ids)) {
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      const rows = await this.#db
        .selectFrom('upload_session')
        .select('id')
        .where('id', 'in', batch)
        .execute();
      for (const { id } of rows) found.add(id);
    }
    return found;
  }

  async counts(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#db
      .selectFrom('upload_session')
      .select((expression) => ['subject', expression.fn.countAll().as('count')])
      .groupBy('subject')
      .execute();
    return new Map(rows.map(({ subject, count }) => [subject, Number(count)]));
  }

  async letGoOf(holder: string): Promise<void> {
    await this.#db
      .updateTable('upload_session')
      .set({ held_until_ms: FREE })
      .where('holder', '=', holder)
      .where('held_until_ms', '>', FREE)
      .execute();
  }

  /** Takes out those whose time is before that of the wish, the oldest first. */
  async #take(time: 'expires_at_ms' | 'used_at_ms', wish: TakeWish): Promise<UploadRecord[]> {
    const { subject, busy, nowMs, beforeMs, max } = wish;
    const over = this.#db
      .selectFrom('upload_session')
      .select('id')
      .where(time, '<', beforeMs)
      .where('held_until_ms', '<', nowMs)
      .$if(subject !== undefined, (query) => query.where('subject', '=', subject ?? ''))
      .$if(busy.length > 0, (query) => query.where('id', 'not in', busy))
      .orderBy(time)
      .limit(max);
    const rows = await this.#db
      .deleteFrom('upload_session')
      .where('id', 'in', over)
      .where(time, '<', beforeMs)
      .where('held_until_ms', '<', nowMs)
      .returning(RECORD)
      .execute();
    return rows.map(recordOf);
  }

  #find({ id, repository, subject }: UploadTarget) {
    return this.#db
      .selectFrom('upload_session')
      .select([...RECORD, 'epoch'])
      .where('id', '=', id)
      .where('repository', '=', repository)
      .where('subject', '=', subject)
      .executeTakeFirst();
  }

  /** The upload, unless a later request holds it or has written to it. */
  #held({ id, epoch }: UploadHold, db: Kysely<UploadTables> = this.#db) {
    return db.updateTable('upload_session').where('id', '=', id).where('epoch', '<=', epoch);
  }
}
