import type { Kysely } from 'kysely';
import type { RegistryTables } from './schema.ts';

// In which data folder the blobs of a catalog are that several hubs could reach: a row of the table
// of the collector, under a name of its own.

type Database = Kysely<RegistryTables>;

const FOLDER = 'blob-folder';

/**
 * Says that the blobs of this catalog are in the folder of that id, unless they are in another one;
 * the id of the folder they are in.
 */
export async function claimBlobFolder(db: Database, id: string): Promise<string> {
  await db
    .insertInto('collector')
    .values({ name: FOLDER, holder: id, epoch: 0, begun_at_ms: Date.now(), held_until_ms: 0 })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .execute();
  return (await blobFolder(db)) ?? id;
}

/** The folder of this id is the one from now on. */
export async function adoptBlobFolder(db: Database, id: string): Promise<void> {
  await claimBlobFolder(db, id);
  await db.updateTable('collector').set({ holder: id }).where('name', '=', FOLDER).execute();
}

async function blobFolder(db: Database): Promise<string | undefined> {
  const row = await db
    .selectFrom('collector')
    .select('holder')
    .where('name', '=', FOLDER)
    .executeTakeFirst();
  return row?.holder;
}
