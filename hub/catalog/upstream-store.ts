import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import type { ParkedIngest, TagOf, UpstreamStore } from '../upstream/store.ts';
import type { NewTagCheck, TagCheck } from './port.ts';
import type { RegistryTables } from './schema.ts';
import { change, transact } from './transact.ts';
import type { UploadTables } from './upload-store.ts';
import { movable, noteChecked, tagsLock } from './upstream-tags.ts';

/** Tables of migration 0012, and those they are about. */
export type UpstreamTables = RegistryTables &
  UploadTables & {
    upstream_ingest: { scope: string; digest: Digest; session: string };
  };

/** What hubs know of upstreams, in the tables of migration 0012. */
export class KyselyUpstreamStore implements UpstreamStore {
  readonly #db: Kysely<UpstreamTables>;

  constructor(modules: { db: Kysely<UpstreamTables> }) {
    this.#db = modules.db;
  }

  async tagCheck(repository: string, tag: string): Promise<TagCheck | undefined> {
    const row = await this.#db
      .selectFrom('upstream_tag')
      .select(['etag', 'checked_at_ms'])
      .where('repository', '=', repository)
      .where('name', '=', tag)
      .executeTakeFirst();
    return row && { etag: row.etag ?? undefined, checkedAtMs: Number(row.checked_at_ms) };
  }

  async tagChecked(repository: string, { tag, digest }: TagOf, check: NewTagCheck): Promise<void> {
    const work = async (db: Transaction<UpstreamTables>): Promise<void> => {
      const own = db.withTables<RegistryTables>();
      const tags = await movable(own, { repository, tags: [tag] }, check);
      await noteChecked(own, { repository, digest, tags }, check);
    };
    await transact(this.#db, work, { lock: tagsLock(repository) });
  }

  async coldBlob(repository: string, digest: Digest): Promise<number | undefined> {
    const stored = await this.#db
      .selectFrom('blob')
      .select('digest')
      .where('digest', '=', digest)
      .executeTakeFirst();
    return stored === undefined ? this.namedSize(repository, digest) : undefined;
  }

  async namedSize(repository: string, digest: Digest): Promise<number | undefined> {
    const row = await this.#db
      .selectFrom('manifest_reference as reference')
      .innerJoin('manifest', (join) =>
        join
          .onRef('manifest.repository', '=', 'reference.repository')
          .onRef('manifest.digest', '=', 'reference.manifest_digest'),
      )
      .select(['manifest.bytes', 'manifest.media_type'])
      .where('reference.repository', '=', repository)
      .where('reference.digest', '=', digest)
      .where('reference.kind', '=', 'blob')
      .limit(1)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const { config, layers } = parseManifest(row.bytes, row.media_type);
    return [...(config ? [config] : []), ...layers].find((one) => one.digest === digest)?.size;
  }

  async parked(scope: string, digest: Digest): Promise<ParkedIngest | undefined> {
    const row = await this.#db
      .selectFrom('upstream_ingest as ingest')
      .innerJoin('upload_session as upload', 'upload.id', 'ingest.session')
      .select([
        'upload.id as session',
        'upload.repository',
        'upload.subject',
        'upload.holder',
        'upload.held_until_ms',
      ])
      .where('ingest.scope', '=', scope)
      .where('ingest.digest', '=', digest)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const { held_until_ms: until, ...rest } = row;
    return { ...rest, heldUntilMs: Number(until) };
  }

  async park(scope: string, digest: Digest, session: string): Promise<boolean> {
    const { numInsertedOrUpdatedRows = 0n } = await change(this.#db, (db) =>
      db
        .insertInto('upstream_ingest')
        .values({ scope, digest, session })
        .onConflict((conflict) => conflict.columns(['scope', 'digest']).doNothing())
        .executeTakeFirst(),
    );
    return numInsertedOrUpdatedRows > 0n;
  }
}
