import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { ExpressionBuilder, Kysely } from 'kysely';
import { PRESENCE_MS, PRESENCE_RENEW_MS } from './constants.ts';
import { CatalogError } from './errors.ts';
import type { RegistryTables } from './schema.ts';

// Who uses a database that several programs can reach: rows of the table of the collector, under
// names of their own. Hubs use it side by side; a check that may repair uses it alone.

type Database = Kysely<RegistryTables>;
export type Use = 'hub' | 'check';

/** Names of rows begin with these; with the last letter raised they sort after all of them. */
const PREFIXES = { hub: 'user-hub ', check: 'user-check ' } as const;

/**
 * Says that a program uses the catalog until disposed, or for PRESENCE_MS after it is gone. Two
 * that exclude each other and come at the same time may both be refused. `folder` names the data
 * folder that the program has locked: who used the catalog with it on this machine is gone.
 * @throws CatalogError CATALOG_IN_USE when a hub runs and a check comes, or the other way round
 */
export async function enterCatalog(
  db: Database,
  use: Use,
  { folder = '', now = Date.now }: { folder?: string; now?: () => number } = {},
): Promise<AsyncDisposable> {
  const name = `${PREFIXES[use]}${randomUUID()}`;
  // A copy of the folder elsewhere has the same name, and a lock of its own.
  const holder = folder === '' ? '' : `${folder} at ${hostname()}`;
  const noteOwn = () => note(db, { name, holder }, now());
  await forgetGone(db, holder, now());
  // First its own row: of two that come at once, one at least sees the other.
  await noteOwn();
  await using entering = new AsyncDisposableStack();
  entering.defer(() => forget(db, name));
  let noting: Promise<unknown> = Promise.resolve();
  const timer = setInterval(() => {
    // Without an answer of the database nobody else gets one to come in by, for a while.
    noting = Promise.all([noting, noteOwn().catch(() => undefined)]);
  }, PRESENCE_RENEW_MS).unref();
  entering.defer(async () => {
    clearInterval(timer);
    // Else the row might come back.
    await noting;
  });
  const untilMs = await othersUntil(db, use === 'hub' ? ['check'] : ['hub', 'check'], name, now());
  if (untilMs === undefined) return entering.move();
  const seconds = Math.ceil((untilMs - now()) / 1000);
  const who = use === 'hub' ? 'a check of this catalog goes on' : 'a hub uses this catalog';
  const hint = `stop it; if it was killed, wait ${seconds} s`;
  throw new CatalogError(`${who}; ${hint}`, { code: 'CATALOG_IN_USE' });
}

async function forget(db: Database, name: string): Promise<void> {
  await db
    .deleteFrom('collector')
    .where('name', '=', name)
    .execute()
    .catch(() => undefined);
}

async function forgetGone(db: Database, holder: string, nowMs: number): Promise<void> {
  await db
    .deleteFrom('collector')
    .where((is) => isOf(is, ['hub', 'check']))
    .where((is) =>
      is.or([
        is('held_until_ms', '<=', nowMs),
        ...(holder === '' ? [] : [is('holder', '=', holder)]),
      ]),
    )
    .execute();
}

async function note(
  db: Database,
  own: { name: string; holder: string },
  nowMs: number,
): Promise<void> {
  const untilMs = nowMs + PRESENCE_MS;
  await db
    .insertInto('collector')
    .values({ ...own, epoch: 0, begun_at_ms: nowMs, held_until_ms: untilMs })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ held_until_ms: untilMs }))
    .execute();
}

async function othersUntil(
  db: Database,
  uses: readonly Use[],
  own: string,
  nowMs: number,
): Promise<number | undefined> {
  const row = await db
    .selectFrom('collector')
    .select((is) => is.fn.max('held_until_ms').as('until'))
    .where((is) => isOf(is, uses))
    .where('name', '!=', own)
    .where('held_until_ms', '>', nowMs)
    .executeTakeFirst();
  return row?.until === undefined || row.until === null ? undefined : Number(row.until);
}

function isOf(is: ExpressionBuilder<RegistryTables, 'collector'>, uses: readonly Use[]) {
  return is.or(
    uses.map((use) => {
      const prefix = PREFIXES[use];
      return is.and([is('name', '>', prefix), is('name', '<', `${prefix.trimEnd()}!`)]);
    }),
  );
}
