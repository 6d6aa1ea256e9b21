import type { ColumnType, Kysely } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import type { ParkedIngest, TagCheck, UpstreamStore } from '../upstream/store.ts';
import type { RegistryTables } from './schema.ts';
import { change } from './transact.ts';
import type { UploadTables } from './upload-store.ts';

/** A number of 64 bits; some databases give it back as text. */
type Big = ColumnType<number | string, number, number>;

/** Tables of migration 0012, and those they are about. */
export type UpstreamTables = RegistryTables &
  UploadTables & {
    upstream_tag: { repository: string; name: string; etag: string | null; checked_at_ms: Big };
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

  async tagChecked(repository: string, tag: string, check: TagCheck): Promise<void> {
    const set = { etag: check.etag ?? null, checked_at_ms: check.checkedAtMs };
    await change(this.#db, (db) =>
      db
        .insertInto('upstream_tag')
        .columns(['repository', 'name', 'etag', 'checked_at_ms'])
        .expression((from) =>
          from
            .selectFrom('tag')
            .select((is) => [
              'repository',
              'name',
              is.cast<string | null>(is.val(set.etag), 'text').as('etag'),
              is.cast<number>(is.val(set.checked_at_ms), 'bigint').as('checked_at_ms'),
            ])
            .where('repository', '=', repository)
            .where('name', '=', tag),
        )
        .onConflict((conflict) => conflict.columns(['repository', 'name']).doUpdateSet(set))
        .execute(),
    );
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
