import type { Digest } from '../../proto/oci/digest.ts';
import { isForeignLayer, type ParsedManifest } from '../../proto/oci/manifest.ts';
import type { Reference, Repository, Tag } from '../../proto/oci/name.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { BlobReader } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import { keepBlob } from '../registry/keep-blob.ts';
import type { OpenUploads } from '../registry/open-uploads.ts';
import type { UploadTarget } from '../registry/upload-store.ts';
import { MOUNT_SOURCES_MAX, SEGMENT_BYTES } from './constants.ts';
import { sourceLacks } from './errors.ts';
import { localTags } from './local-source.ts';
import type { BlobSupply, FoundManifest, ReplicationTarget } from './place.ts';
import type { Transfers, Waiting, WantedBlob } from './place.ts';
import type { SeenBlobs } from './seen-blobs.ts';

/** Whose uploads those of replication are. */
const SUBJECT = 'replication';
const HERE = '';

export type LocalTargetModules = {
  catalog: Catalog;
  blobs: Pick<BlobReader, 'stat'>;
  uploads: Pick<OpenUploads, 'create' | 'size' | 'leaves' | 'exclusively'>;
  transfers: Transfers;
  isPublic: (repository: string) => Promise<boolean>;
  /** Makes the project of a repository unless it is there. */
  adoptProject: (repository: string) => Promise<void>;
  /** Told of what is there now, as of a push. */
  pushed: (push: {
    repository: Repository;
    digest: Digest;
    tags: readonly string[];
    subject?: Digest | undefined;
  }) => Promise<void>;
};

/** This hub, to copy to. `source` is the registry that content comes from. */
export class LocalTarget implements ReplicationTarget {
  readonly #seen: SeenBlobs;
  readonly #modules: LocalTargetModules;

  /** `seen`: blobs whose bytes the source has sent before. */
  constructor(options: { seen: SeenBlobs }, modules: LocalTargetModules) {
    this.#seen = options.seen;
    this.#modules = modules;
  }

  tags(repository: Repository): AsyncIterable<Tag> {
    return localTags(this.#modules.catalog, repository);
  }

  tagged(repository: Repository, tag: Tag): Promise<Digest | undefined> {
    return this.#modules.catalog.tagged(repository, tag);
  }

  async hasManifest(repository: Repository, digest: Digest): Promise<boolean> {
    return (await this.#modules.catalog.manifest(repository, { digest })) !== undefined;
  }

  manifest(repository: Repository, digest: Digest): Promise<FoundManifest | undefined> {
    return this.#modules.catalog.manifest(repository, { digest });
  }

  async provide(
    repository: Repository,
    blob: WantedBlob,
    supply: BlobSupply,
    { signal }: Waiting,
  ): Promise<'present' | 'mounted' | 'copied'> {
    const { catalog, blobs } = this.#modules;
    const { digest } = blob;
    const isStored = (await blobs.stat(digest)) !== undefined;
    if (isStored && (await catalog.useBlob(repository, digest))) return 'present';
    if (isStored && (await this.#mayLink(digest, supply))) {
      await this.#modules.adoptProject(repository);
      if (await catalog.linkBlob(repository, digest)) return 'mounted';
    }
    await this.#ingest(repository, blob, supply, signal);
    this.#seen.note(digest, repository);
    return 'copied';
  }

  async keep(repository: Repository, blobs: readonly Digest[]): Promise<void> {
    // oxlint-disable-next-line no-await-in-loop -- one row after the other
    for (const digest of blobs) await this.#modules.catalog.useBlob(repository, digest);
  }

  async putManifest(
    repository: Repository,
    reference: Reference,
    { digest, bytes, mediaType, parsed }: FoundManifest & { parsed: ParsedManifest },
  ): Promise<void> {
    const { catalog, adoptProject, pushed } = this.#modules;
    await adoptProject(repository);
    const artifactType = parsed.artifactType || parsed.config?.mediaType;
    const { annotations, subject } = parsed;
    const tags = reference.kind === 'tag' ? [reference.tag] : [];
    await catalog.putManifest({
      repository,
      digest,
      mediaType,
      bytes,
      references: referencesOf(parsed),
      tags,
      ...(subject ? { subject: subject.digest } : {}),
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    });
    await pushed({ repository, digest, tags, subject: subject?.digest });
  }

  async refer(): Promise<void> {
    // The catalog has them together, or none.
  }

  async deleteTag(repository: Repository, tag: Tag): Promise<'deleted' | 'unknown'> {
    return (await this.#modules.catalog.deleteTag(repository, tag)) ? 'deleted' : 'unknown';
  }

  /**
   * A manifest that names a digest gives no right to its bytes: they are taken from what is stored
   * only when everybody may read them, or when this registry has sent them before and says that it
   * has them in the repository they are copied from.
   */
  async #mayLink(digest: Digest, supply: BlobSupply): Promise<boolean> {
    if (this.#seen.has(digest) && (await supply.has())) return true;
    const { catalog, isPublic } = this.#modules;
    for (const other of await catalog.repositoriesWith(digest, MOUNT_SOURCES_MAX)) {
      // oxlint-disable-next-line no-await-in-loop -- the first that will do
      if (await isPublic(other)) return true;
    }
    return false;
  }

  async #ingest(
    repository: Repository,
    { digest, size }: WantedBlob,
    supply: BlobSupply,
    signal: AbortSignal,
  ): Promise<void> {
    const { uploads, transfers, blobs, catalog, adoptProject } = this.#modules;
    await adoptProject(repository);
    const { target, start } = await this.#upload(repository, digest, size);
    try {
      if (start < size) {
        const body = await supply.open(start === 0 ? { start } : { start, end: size });
        await this.#fill(target, { start, size }, body);
      }
      await uploads.exclusively(target, async (upload) => {
        upload.outcome = 'drop';
        const commit = () => upload.session.commit(digest, () => uploads.leaves(target.id));
        await keepBlob({ repository, digest, id: target.id }, commit, { blobs, catalog, signal });
      });
    } catch (err) {
      // A range that cannot be had is asked for from the first byte the next time.
      const useless = hasCode(err, 'RANGE_IGNORED', 'DIGEST_INVALID', 'BLOB_UPLOAD_UNKNOWN');
      if (useless) await transfers.dropTransfer(HERE, repository, digest);
      throw err;
    }
    await transfers.dropTransfer(HERE, repository, digest);
  }

  /** The upload an earlier attempt left, here or at another hub, or a new one. */
  async #upload(
    repository: Repository,
    digest: Digest,
    size: number,
  ): Promise<{ target: UploadTarget; start: number }> {
    const { uploads, transfers } = this.#modules;
    const id = await transfers.transfer(HERE, repository, digest);
    if (id !== undefined) {
      const target = { id, repository, subject: SUBJECT };
      try {
        const start = await uploads.size(target);
        if (start <= size) return { target, start };
      } catch (err) {
        if (!hasCode(err, 'BLOB_UPLOAD_UNKNOWN')) throw err;
      }
    }
    const target = await uploads.create({ repository, subject: SUBJECT });
    await transfers.setTransfer(HERE, repository, digest, target.id);
    return { target, start: 0 };
  }

  /** Parks the upload at intervals, so that whoever goes on finds it there. */
  async #fill(
    target: UploadTarget,
    { start, size }: { start: number; size: number },
    body: AsyncIterable<Buffer>,
  ): Promise<void> {
    const bytes = body[Symbol.asyncIterator]();
    try {
      for (let at = start; at < size;) {
        const before = at;
        // oxlint-disable-next-line no-await-in-loop -- one part after the other
        at = await this.#modules.uploads.exclusively(target, async (upload) => {
          const { session } = upload;
          if (session.size !== before) throw sourceLacks('another hub went on with this blob');
          upload.outcome = 'keep';
          try {
            await session.append(take(bytes, SEGMENT_BYTES), () => undefined);
          } catch (err) {
            if (session.lost || hasCode(err, 'STORE_AWAY')) upload.outcome = 'undo';
            else if (session.broken) upload.outcome = 'drop';
            throw err;
          }
          return session.size;
        });
        if (at === before) throw sourceLacks(`the source sent ${at} of ${size} bytes`);
      }
    } finally {
      await bytes.return?.();
    }
  }
}

/** The next pieces, until there are so many bytes; what follows stays where it is. */
async function* take(bytes: AsyncIterator<Buffer>, max: number): AsyncIterable<Buffer> {
  for (let taken = 0; taken < max;) {
    // oxlint-disable-next-line no-await-in-loop -- one piece after the other
    const next = await bytes.next();
    if (next.done === true) return;
    taken += next.value.length;
    yield next.value;
  }
}

/** Children need not be there: a rule copies them first, and some registries lack some. */
function referencesOf(manifest: ParsedManifest) {
  const { config, layers, manifests } = manifest;
  const blobs = [...(config ? [config] : []), ...layers];
  const parts = [
    ...blobs.map((one) => {
      return { digest: one.digest, kind: 'blob' as const, required: !isForeignLayer(one) };
    }),
    ...manifests.map(({ digest }) => ({ digest, kind: 'manifest' as const, required: false })),
  ];
  return [...new Map(parts.map((part) => [`${part.kind} ${part.digest}`, part])).values()];
}
