import type { Kysely, Selectable } from 'kysely';
import type { GcRun } from '../gc/store.ts';
import { GC_RUNS_KEPT } from './constants.ts';
import type { RegistryTables } from './schema.ts';
import { transact } from './transact.ts';

// What collections did, in a table of migration 0010.

type Database = Kysely<RegistryTables>;

const RESULTS = ['running', 'ok', 'failed', 'stopped'] as const;

/** See GcStore.noteRun. */
export function noteRun(db: Database, run: GcRun): Promise<void> {
  const { id, begunMs, endedMs, result, report } = run;
  const state = { ended_at_ms: endedMs ?? null, result, report: JSON.stringify(report) };
  return transact(db, async (own) => {
    await own
      .insertInto('gc_run')
      .values({ id, begun_at_ms: begunMs, ...state })
      .onConflict((conflict) => conflict.column('id').doUpdateSet(state))
      .execute();
    const last = own
      .selectFrom('gc_run')
      .select('id')
      .orderBy('begun_at_ms', 'desc')
      .orderBy('id')
      .limit(GC_RUNS_KEPT);
    await own.deleteFrom('gc_run').where('id', 'not in', last).execute();
  });
}

/** See GcStore.run. */
export async function runOf(db: Database, id: string): Promise<GcRun | undefined> {
  const row = await db.selectFrom('gc_run').selectAll().where('id', '=', id).executeTakeFirst();
  return row && runIn(row);
}

/** See GcStore.runs. */
export async function runsOf(db: Database, max: number): Promise<GcRun[]> {
  const rows = await db
    .selectFrom('gc_run')
    .selectAll()
    .orderBy('begun_at_ms', 'desc')
    .orderBy('id')
    .limit(max)
    .execute();
  return rows.map(runIn);
}

function runIn(row: Selectable<RegistryTables['gc_run']>): GcRun {
  const { id, begun_at_ms, ended_at_ms } = row;
  return {
    id,
    begunMs: Number(begun_at_ms),
    ...(ended_at_ms === null ? {} : { endedMs: Number(ended_at_ms) }),
    result: RESULTS.find((known) => known === row.result) ?? 'failed',
    report: JSON.parse(row.report),
  };
}
