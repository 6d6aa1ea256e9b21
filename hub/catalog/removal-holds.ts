import type { Kysely } from 'kysely';
import type { RegistryTables } from './schema.ts';
import { transact } from './transact.ts';

// Who holds removals of blobs off: rows of the table of the collector, under names of their own.

type Database = Kysely<RegistryTables>;
type Times = { untilMs: number; nowMs: number };

/** Names of these rows begin with this; the second sorts after all of them. */
const HOLD = 'hold ';
const AFTER_HOLDS = 'hold!';
/** Held by who holds removals off; those who claim blobs share it. */
export const REMOVALS = 'removals';

/** See HoldStore.hold. */
export function hold(db: Database, id: string, { untilMs, nowMs }: Times): Promise<void> {
  const row = { name: `${HOLD}${id}`, holder: '', epoch: 0, begun_at_ms: nowMs };
  return transact(
    db,
    async (own) => {
      await own
        .deleteFrom('collector')
        .where('name', '>=', HOLD)
        .where('name', '<', AFTER_HOLDS)
        .where('held_until_ms', '<=', nowMs)
        .execute();
      await own
        .insertInto('collector')
        .values({ ...row, held_until_ms: untilMs })
        .execute();
    },
    { lock: REMOVALS },
  );
}

/** See HoldStore.keepHold. */
export async function keepHold(
  db: Database,
  id: string,
  { untilMs, nowMs }: Times,
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('collector')
    .set({ held_until_ms: untilMs })
    .where('name', '=', `${HOLD}${id}`)
    .where('held_until_ms', '>', nowMs)
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** See HoldStore.endHold. */
export async function endHold(db: Database, id: string): Promise<void> {
  await db.deleteFrom('collector').where('name', '=', `${HOLD}${id}`).execute();
}

/** See HoldStore.heldUntil. */
export async function heldUntil(db: Database, nowMs: number): Promise<number | undefined> {
  const row = await holdsAt(db, nowMs)
    .select((is) => is.fn.max('held_until_ms').as('until'))
    .executeTakeFirst();
  return row?.until === undefined || row.until === null ? undefined : Number(row.until);
}

/** What holds removals off. */
export function holdsAt(db: Database, nowMs: number) {
  return db
    .selectFrom('collector')
    .where('name', '>=', HOLD)
    .where('name', '<', AFTER_HOLDS)
    .where('held_until_ms', '>', nowMs);
}
