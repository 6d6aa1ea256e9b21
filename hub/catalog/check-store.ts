import type { Kysely } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import type { CheckStore, NamedBlob, RecordedBlob } from '../check/store.ts';
import type { RegistryTables } from './schema.ts';
import { transact } from './transact.ts';
import type { UploadTables } from './upload-store.ts';

/** What the check reads of the catalog. */
export class KyselyCheckStore implements CheckStore {
  readonly #db: Kysely<RegistryTables>;

  constructor(modules: { db: Kysely<RegistryTables> }) {
    this.#db = modules.db;
  }

  async blobs(after: Digest | undefined, max: number): Promise<RecordedBlob[]> {
    const all = this.#db
      .selectFrom('blob')
      .select(['digest', 'size', 'quarantined_at_ms', 'deleting']);
    const rest = after === undefined ? all : all.where('digest', '>', after);
    const rows = await rest.orderBy('digest').limit(max).execute();
    return rows.map(({ digest, size, quarantined_at_ms, deleting }) => {
      const live = quarantined_at_ms === null;
      return { digest, size: Number(size), live, leaving: deleting !== 0 };
    });
  }

  async sizeOf(digest: Digest): Promise<number | undefined> {
    const row = await this.#db
      .selectFrom('blob')
      .select('size')
      .where('digest', '=', digest)
      .executeTakeFirst();
    return row && Number(row.size);
  }

  async isUpload(id: string): Promise<boolean> {
    const row = await this.#db
      .withTables<UploadTables>()
      .selectFrom('upload_session')
      .select('id')
      .where('id', '=', id)
      .executeTakeFirst();
    return row !== undefined;
  }

  forget(digest: Digest): Promise<void> {
    return transact(this.#db, async (db) => {
      for (const table of ['repository_blob', 'removed_link', 'blob'] as const) {
        await db.deleteFrom(table).where('digest', '=', digest).execute();
      }
    });
  }

  async absentBlobs(after: NamedBlob | undefined, max: number): Promise<NamedBlob[]> {
    const absent = this.#db
      .selectFrom('manifest_reference as reference')
      .leftJoin('repository_blob as own', (join) =>
        join
          .onRef('own.repository', '=', 'reference.repository')
          .onRef('own.digest', '=', 'reference.digest'),
      )
      // What was taken down is meant to be away.
      .leftJoin('purged_digest as purged', 'purged.digest', 'reference.digest')
      .select(['reference.repository', 'reference.manifest_digest', 'reference.digest'])
      .where('reference.kind', '=', 'blob')
      .where('own.digest', 'is', null)
      .where('purged.digest', 'is', null);
    const rest =
      after === undefined
        ? absent
        : absent.where((is) =>
            is(
              is.refTuple('reference.repository', 'reference.manifest_digest', 'reference.digest'),
              '>',
              is.tuple(after.repository, after.manifest, after.digest),
            ),
          );
    const rows = await rest
      .orderBy('reference.repository')
      .orderBy('reference.manifest_digest')
      .orderBy('reference.digest')
      .limit(max)
      .execute();
    return rows.map(({ repository, manifest_digest: manifest, digest }) => {
      return { repository, manifest, digest };
    });
  }

  async danglingTags(max: number): Promise<{ repository: string; tag: string }[]> {
    const rows = await this.#db
      .selectFrom('tag')
      .leftJoin('manifest', (join) =>
        join
          .onRef('manifest.repository', '=', 'tag.repository')
          .onRef('manifest.digest', '=', 'tag.digest'),
      )
      .select(['tag.repository', 'tag.name'])
      .where('manifest.digest', 'is', null)
      .limit(max)
      .execute();
    return rows.map(({ repository, name: tag }) => ({ repository, tag }));
  }

  async manifestBytes(repository: string, digest: Digest): Promise<Uint8Array | undefined> {
    const row = await this.#db
      .selectFrom('manifest')
      .select('bytes')
      .where('repository', '=', repository)
      .where('digest', '=', digest)
      .executeTakeFirst();
    return row?.bytes;
  }
}
