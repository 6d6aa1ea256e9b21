import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { Kysely, SqliteDialect, type Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import { migrate } from './migrate.ts';
import type { Catalog, ManifestPush, Page, Referrer, StoredManifest } from './port.ts';
import type { RegistryTables } from './schema.ts';

/** Referrers listed of one subject. */
export const REFERRERS_MAX = 1000;
/** Digests one manifest may reach. */
export const REACHABLE_MAX = 10_000;
const BUSY_TIMEOUT_MS = 5000;

type Db = Kysely<RegistryTables>;
type Executor = Db | Transaction<RegistryTables>;

/** The catalog on a Kysely database. */
export class KyselyCatalog implements Catalog {
  readonly db: Db;

  constructor(db: Db) {
    this.db = db;
  }

  async blobIn(repository: string, digest: Digest): Promise<{ size: number } | undefined> {
    const row = await this.db
      .selectFrom('repository_blob')
      .innerJoin('blob', 'blob.digest', 'repository_blob.digest')
      .select('blob.size')
      .where('repository_blob.repository', '=', repository)
      .where('repository_blob.digest', '=', digest)
      .executeTakeFirst();
    return row && { size: Number(row.size) };
  }

  async addBlob(
    blob: { digest: Digest; size: number; root: Buffer; hashes: Buffer },
    repository: string,
  ): Promise<void> {
    const { digest, size, root, hashes } = blob;
    await this.db.transaction().execute(async (trx) => {
      await trx
        .insertInto('blob')
        .values({ digest, size, root, hashes })
        .onConflict((c) => c.doNothing())
        .execute();
      await link(trx, repository, digest);
    });
  }

  async linkBlob(repository: string, digest: Digest): Promise<boolean> {
    return this.db.transaction().execute(async (trx) => {
      const row = await trx
        .selectFrom('blob')
        .select('digest')
        .where('digest', '=', digest)
        .executeTakeFirst();
      if (row) await link(trx, repository, digest);
      return row !== undefined;
    });
  }

  async removeBlobFrom(repository: string, digest: Digest): Promise<boolean> {
    const { numDeletedRows } = await this.db
      .deleteFrom('repository_blob')
      .where('repository', '=', repository)
      .where('digest', '=', digest)
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async blobChunks(
    digest: Digest,
  ): Promise<{ size: number; root: Buffer; hashes: Buffer } | undefined> {
    const row = await this.db
      .selectFrom('blob')
      .selectAll()
      .where('digest', '=', digest)
      .executeTakeFirst();
    if (!row || row.hashes.length === 0) return undefined;
    const [root, hashes] = [Buffer.from(row.root), Buffer.from(row.hashes)];
    return { size: Number(row.size), root, hashes };
  }

  async putManifest(push: ManifestPush): Promise<void> {
    const { repository, digest } = push;
    await this.db.transaction().execute(async (trx) => {
      await ensureRepository(trx, repository);
      await trx
        .insertInto('manifest')
        .values({
          repository,
          digest,
          media_type: push.mediaType,
          bytes: push.bytes,
          subject: push.subject ?? null,
          artifact_type: push.artifactType ?? null,
        })
        .onConflict((c) => c.doNothing())
        .execute();
      for (const { digest: to, kind } of push.references) {
        await trx
          .insertInto('manifest_reference')
          .values({ repository, manifest_digest: digest, digest: to, kind })
          .onConflict((c) => c.doNothing())
          .execute();
      }
      for (const name of push.tags) {
        await trx
          .insertInto('tag')
          .values({ repository, name, digest })
          .onConflict((c) => c.columns(['repository', 'name']).doUpdateSet({ digest }))
          .execute();
      }
    });
  }

  async manifest(
    repository: string,
    by: { tag: string } | { digest: Digest },
  ): Promise<StoredManifest | undefined> {
    const query = this.db
      .selectFrom('manifest')
      .select(['manifest.digest', 'manifest.media_type', 'manifest.bytes'])
      .where('manifest.repository', '=', repository);
    const row = await (
      'tag' in by
        ? query
            .innerJoin('tag', (join) =>
              join
                .onRef('tag.repository', '=', 'manifest.repository')
                .onRef('tag.digest', '=', 'manifest.digest'),
            )
            .where('tag.name', '=', by.tag)
        : query.where('manifest.digest', '=', by.digest)
    ).executeTakeFirst();
    return row && storedOf(row);
  }

  async deleteTag(repository: string, tag: string): Promise<boolean> {
    const { numDeletedRows } = await this.db
      .deleteFrom('tag')
      .where('repository', '=', repository)
      .where('name', '=', tag)
      .executeTakeFirst();
    return numDeletedRows > 0n;
  }

  async deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    return this.db.transaction().execute(async (trx) => {
      await trx
        .deleteFrom('tag')
        .where('repository', '=', repository)
        .where('digest', '=', digest)
        .execute();
      await trx
        .deleteFrom('manifest_reference')
        .where('repository', '=', repository)
        .where('manifest_digest', '=', digest)
        .execute();
      const { numDeletedRows } = await trx
        .deleteFrom('manifest')
        .where('repository', '=', repository)
        .where('digest', '=', digest)
        .executeTakeFirst();
      return numDeletedRows > 0n;
    });
  }

  async tags(repository: string, { n, last = '' }: Page): Promise<string[] | undefined> {
    const known = await this.db
      .selectFrom('repository')
      .select('name')
      .where('name', '=', repository)
      .executeTakeFirst();
    if (!known) return undefined;
    const rows = await this.db
      .selectFrom('tag')
      .select('name')
      .where('repository', '=', repository)
      .where('name', '>', last)
      .orderBy('name')
      .limit(n)
      .execute();
    return rows.map(({ name }) => name);
  }

  async repositories({ n, last = '' }: Page): Promise<string[]> {
    const query = this.db.selectFrom('repository').select('name').where('name', '>', last);
    const rows = await query.orderBy('name').limit(n).execute();
    return rows.map(({ name }) => name);
  }

  async referrers(repository: string, subject: Digest): Promise<Referrer[]> {
    const rows = await this.db
      .selectFrom('manifest')
      .select(['digest', 'media_type', 'bytes', 'artifact_type'])
      .where('repository', '=', repository)
      .where('subject', '=', subject)
      .orderBy('digest')
      .limit(REFERRERS_MAX)
      .execute();
    return rows.map((row) => ({
      ...storedOf(row),
      size: row.bytes.length,
      artifactType: row.artifact_type ?? undefined,
    }));
  }

  async reachable(
    repository: string,
    digest: Digest,
  ): Promise<{ manifestDigest: Digest; digests: Digest[] } | undefined> {
    const own = await this.manifest(repository, { digest });
    const start = own ? digest : await this.#referencing(repository, digest);
    if (start === undefined) return undefined;
    const seen = new Set<Digest>();
    const queue = [start];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      const rows = await this.db
        .selectFrom('manifest_reference')
        .select(['digest', 'kind'])
        .where('repository', '=', repository)
        .where('manifest_digest', '=', next)
        .limit(REACHABLE_MAX)
        .execute();
      for (const { digest: to, kind } of rows) {
        if (seen.has(to as Digest) || seen.size >= REACHABLE_MAX) continue;
        seen.add(to as Digest);
        if (kind === 'manifest') queue.push(to as Digest);
      }
    }
    seen.delete(start);
    return { manifestDigest: start, digests: [...seen] };
  }

  close(): Promise<void> {
    return this.db.destroy();
  }

  async #referencing(repository: string, digest: Digest): Promise<Digest | undefined> {
    const row = await this.db
      .selectFrom('manifest_reference')
      .select('manifest_digest')
      .where('repository', '=', repository)
      .where('digest', '=', digest)
      .executeTakeFirst();
    return row?.manifest_digest as Digest | undefined;
  }
}

/**
 * Opens or makes the catalog file: WAL, and each commit on disk before it is answered.
 * @throws CatalogError SCHEMA_NEWER; errors of node:sqlite
 */
export async function openSqliteCatalog(options: { path: string }): Promise<KyselyCatalog> {
  const database = new DatabaseSync(options.path, { timeout: BUSY_TIMEOUT_MS });
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on');
  const db = new Kysely<RegistryTables>({
    dialect: new SqliteDialect({
      database: {
        close: () => database.close(),
        prepare: (text) => {
          const statement = database.prepare(text);
          const values = (list: readonly unknown[]): SQLInputValue[] => list as SQLInputValue[];
          return {
            reader: statement.columns().length > 0,
            all: (list) => statement.all(...values(list)),
            run: (list) => statement.run(...values(list)),
            iterate: (list) => statement.iterate(...values(list)),
          };
        },
      },
    }),
  });
  await migrate(db);
  return new KyselyCatalog(db);
}

async function link(db: Executor, repository: string, digest: Digest): Promise<void> {
  await ensureRepository(db, repository);
  await db
    .insertInto('repository_blob')
    .values({ repository, digest })
    .onConflict((c) => c.doNothing())
    .execute();
}

async function ensureRepository(db: Executor, name: string): Promise<void> {
  await db
    .insertInto('repository')
    .values({ name })
    .onConflict((c) => c.doNothing())
    .execute();
}

function storedOf(row: { digest: string; media_type: string; bytes: Uint8Array }): StoredManifest {
  const bytes = Buffer.from(row.bytes);
  return { digest: row.digest as Digest, mediaType: row.media_type, bytes };
}
