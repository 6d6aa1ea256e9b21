import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import { PIN_MS } from './constants.ts';
import * as links from './links.ts';
import type { ManifestCache } from './manifest-cache.ts';
import type {
  BlobEntry,
  BlobLink,
  Catalog,
  NewBlob,
  NewManifest,
  Page,
  Referrer,
  ReferrersPage,
  StoredManifest,
} from './port.ts';
import { reachable } from './reach.ts';
import { putReferrer, referrersOf } from './referrers.ts';
import type { RegistryTables } from './schema.ts';
import { transact } from './transact.ts';
import { releaseManifest, releaseNamed, releaseTags, useManifests } from './untagged.ts';
import type { UploadTables } from './upload-store.ts';
import { movable, noteChecked, tagsLock } from './upstream-tags.ts';

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** No stored text has a NUL, and PostgreSQL takes none: what sorts after it sorts after this. */
function storable(last: string): string {
  return last.split('\0', 1)[0] ?? '';
}

/** The catalog in the tables of migration 0001. */
export class KyselyCatalog implements Catalog {
  readonly #db: Kysely<RegistryTables>;
  readonly #cache: ManifestCache | undefined;

  /** A cache only for a catalog that no other hub shares. */
  constructor(modules: { db: Kysely<RegistryTables>; cache?: ManifestCache | undefined }) {
    this.#db = modules.db;
    this.#cache = modules.cache;
  }

  async blob(digest: Digest): Promise<BlobEntry | undefined> {
    const row = await this.#db
      .selectFrom('blob')
      .select(['size', 'root', 'hashes'])
      .where('digest', '=', digest)
      .where('quarantined_at_ms', 'is', null)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      size: Number(row.size),
      ...(row.root === null ? {} : { root: bufferOf(row.root) }),
      ...(row.hashes === null ? {} : { hashes: bufferOf(row.hashes) }),
    };
  }

  async blobIn(repository: string, digest: Digest): Promise<BlobLink | undefined> {
    const row = await this.#db
      .selectFrom('repository_blob as own')
      .innerJoin('blob', 'blob.digest', 'own.digest')
      .select(['blob.size', 'own.unused_since_ms'])
      .where('own.repository', '=', repository)
      .where('own.digest', '=', digest)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const since = row.unused_since_ms;
    return { size: Number(row.size), ...(since === null ? {} : { unusedSinceMs: Number(since) }) };
  }

  async repositoriesWith(digest: Digest, n: number): Promise<string[]> {
    const rows = await this.#db
      .selectFrom('repository_blob')
      .select('repository')
      .where('digest', '=', digest)
      .orderBy('repository')
      .limit(n)
      .execute();
    return rows.map(({ repository }) => repository);
  }

  pinBlob(digest: Digest): Promise<'unknown' | 'pinned'> {
    return links.pinBlob(this.#db, digest, Date.now() + PIN_MS);
  }

  addBlob(blob: NewBlob, repository: string, upload?: { id: string }): Promise<void> {
    const work = async (db: Transaction<RegistryTables>): Promise<void> => {
      if (upload !== undefined) {
        const uploads = db.withTables<UploadTables>();
        await uploads.deleteFrom('upload_session').where('id', '=', upload.id).execute();
      }
      await links.addBlob(db, blob, repository, Date.now());
    };
    return transact(this.#db, work, { share: links.PURGES });
  }

  linkBlob(repository: string, digest: Digest): Promise<boolean> {
    return transact(this.#db, (db) => links.linkBlob(db, repository, digest, Date.now()));
  }

  useBlob(repository: string, digest: Digest): Promise<boolean> {
    return links.useBlob(this.#db, repository, digest, Date.now());
  }

  removeBlobFrom(repository: string, digest: Digest): Promise<boolean> {
    return transact(this.#db, (db) => links.removeLink(db, repository, digest, Date.now()));
  }

  async putManifest(manifest: NewManifest): Promise<void> {
    const { repository, digest, tags } = manifest;
    try {
      const own = manifest.checked === undefined ? {} : { lock: tagsLock(repository) };
      const work = (db: Transaction<RegistryTables>) => putManifest(db, manifest);
      await transact(this.#db, work, { share: links.PURGES, ...own });
    } finally {
      this.#cache?.changed(repository, [{ digest }, ...tags.map((tag) => ({ tag }))]);
    }
  }

  async manifest(
    repository: string,
    reference: { tag: string } | { digest: Digest },
  ): Promise<StoredManifest | undefined> {
    const read = () => this.#readManifest(repository, reference);
    return this.#cache === undefined ? read() : this.#cache.get(repository, reference, read);
  }

  async #readManifest(
    repository: string,
    reference: { tag: string } | { digest: Digest },
  ): Promise<StoredManifest | undefined> {
    const manifests = this.#db
      .selectFrom('manifest')
      .select(['manifest.digest', 'manifest.media_type', 'manifest.bytes'])
      .where('manifest.repository', '=', repository);
    const row =
      'tag' in reference
        ? await manifests
            .innerJoin('tag', (join) =>
              join
                .onRef('tag.repository', '=', 'manifest.repository')
                .onRef('tag.digest', '=', 'manifest.digest'),
            )
            .where('tag.name', '=', reference.tag)
            .executeTakeFirst()
        : await manifests.where('manifest.digest', '=', reference.digest).executeTakeFirst();
    return row && { digest: row.digest, mediaType: row.media_type, bytes: bufferOf(row.bytes) };
  }

  tagged(repository: string, tag: string): Promise<Digest | undefined> {
    return tagged(this.#db, repository, tag);
  }

  async deleteTag(repository: string, tag: string): Promise<boolean> {
    const removed = transact(this.#db, (db) => deleteTag(db, repository, tag));
    return removed.finally(() => this.#cache?.changed(repository, [{ tag }]));
  }

  async deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    const removed = transact(this.#db, async (db) => {
      await releaseNamed(db, { repository, digest }, Date.now());
      const { numDeletedRows } = await db
        .deleteFrom('manifest')
        .where('repository', '=', repository)
        .where('digest', '=', digest)
        .executeTakeFirst();
      return numDeletedRows > 0n;
    });
    // Its tags went with it.
    return removed.finally(() => this.#cache?.clear());
  }

  async tags(repository: string, { n, last }: Page): Promise<string[] | undefined> {
    const known = await this.#db
      .selectFrom('repository')
      .select('name')
      .where('name', '=', repository)
      .executeTakeFirst();
    if (known === undefined) return undefined;
    const all = this.#db.selectFrom('tag').select('name').where('repository', '=', repository);
    const rest = last === undefined ? all : all.where('name', '>', storable(last));
    const rows = await rest.orderBy('name').limit(n).execute();
    return rows.map(({ name }) => name);
  }

  async repositories({ n, last }: Page): Promise<string[]> {
    const all = this.#db.selectFrom('repository').select('name');
    const rest = last === undefined ? all : all.where('name', '>', storable(last));
    const rows = await rest.orderBy('name').limit(n).execute();
    return rows.map(({ name }) => name);
  }

  async referrers(
    repository: string,
    subject: Digest,
    page: ReferrersPage,
  ): Promise<{ referrers: Referrer[]; more: boolean }> {
    if (page.artifactType?.includes('\0') === true) return { referrers: [], more: false };
    return referrersOf(this.#db, repository, subject, page);
  }

  async blobChunks(
    digest: Digest,
  ): Promise<{ size: number; root: Buffer; hashes: Buffer } | undefined> {
    const { size, root, hashes } = (await this.blob(digest)) ?? {};
    if (size === undefined || root === undefined || hashes === undefined) return undefined;
    return { size, root, hashes };
  }

  reachable(
    repository: string,
    digest: Digest,
    { cold = false }: { cold?: boolean } = {},
  ): Promise<{ manifestDigest: Digest; digests: Digest[] } | undefined> {
    return reachable(this.#db, repository, digest, { cold });
  }
}

async function tagged(
  db: Kysely<RegistryTables>,
  repository: string,
  tag: string,
): Promise<Digest | undefined> {
  const row = await db
    .selectFrom('tag')
    .select('digest')
    .where('repository', '=', repository)
    .where('name', '=', tag)
    .executeTakeFirst();
  return row?.digest;
}

/** Locks what the tag names before the tag, as a push does. */
async function deleteTag(
  db: Transaction<RegistryTables>,
  repository: string,
  tag: string,
): Promise<boolean> {
  for (;;) {
    const digest = await tagged(db, repository, tag);
    if (digest === undefined) return false;
    await releaseManifest(db, { repository, digest }, Date.now());
    const { numDeletedRows } = await db
      .deleteFrom('tag')
      .where('repository', '=', repository)
      .where('name', '=', tag)
      .where('digest', '=', digest)
      .executeTakeFirst();
    if (numDeletedRows > 0n) return true;
    // A push moved the tag between the two statements before.
  }
}

async function putManifest(db: Transaction<RegistryTables>, manifest: NewManifest): Promise<void> {
  const { repository, digest, mediaType, bytes, subject, artifactType, checked } = manifest;
  await links.refusePurged(db, digest);
  await links.createRepository(db, repository);
  await links.useBlobs(db, manifest);
  await useManifests(db, manifest);
  const nowMs = Date.now();
  await db
    .insertInto('manifest')
    .values({
      repository,
      digest,
      media_type: mediaType,
      bytes,
      subject: subject ?? null,
      artifact_type: artifactType ?? null,
      // Also of one with a tag: the collector looks at it once, and finds no tag that moved on.
      untagged_since_ms: nowMs,
    })
    .onConflict((conflict) =>
      conflict
        .columns(['repository', 'digest'])
        .doUpdateSet({ media_type: mediaType, untagged_since_ms: nowMs }),
    )
    .execute();
  if (subject !== undefined) await putReferrer(db, { ...manifest, subject });
  for (const batch of links.batches(manifest.references)) {
    // oxlint-disable-next-line no-await-in-loop -- one statement after the other
    await db
      .insertInto('manifest_reference')
      .values(
        batch.map((to) => ({
          repository,
          manifest_digest: digest,
          digest: to.digest,
          kind: to.kind,
        })),
      )
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  const tags = checked ? await movable(db, manifest, checked) : manifest.tags;
  // In one order for all: pushes that move the same tags then wait for each other in a row.
  for (const batch of links.batches(tags.toSorted())) {
    // oxlint-disable-next-line no-await-in-loop -- one statement after the other
    await releaseTags(db, { repository, digest, tags: batch }, nowMs);
    // oxlint-disable-next-line no-await-in-loop -- one statement after the other
    await db
      .insertInto('tag')
      .values(batch.map((name) => ({ repository, name, digest })))
      .onConflict((conflict) => conflict.columns(['repository', 'name']).doUpdateSet({ digest }))
      .execute();
  }
  if (checked) await noteChecked(db, { repository, digest, tags }, checked);
}
