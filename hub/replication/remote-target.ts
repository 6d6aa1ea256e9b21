import { fallbackTag } from '../../proto/distribution/lists.ts';
import type { RegistryClient } from '../../proto/distribution/registry-client.ts';
import type { RegistryPeer, RemoteUpload } from '../../proto/distribution/registry-peer.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { parseManifest, type Descriptor, type ParsedManifest } from '../../proto/oci/manifest.ts';
import { isIndexMediaType, OCI_INDEX } from '../../proto/oci/media-types.ts';
import type { Reference, Repository, Tag } from '../../proto/oci/name.ts';
import { DistributionError } from '../../proto/distribution/errors.ts';
import { INDEX_LEVELS_MAX, MOUNTS_TRIED_MAX } from './constants.ts';
import { refused } from './errors.ts';
import type { BlobSupply, FoundManifest, ReplicationTarget } from './place.ts';
import type { Transfers, Waiting, WantedBlob } from './place.ts';
import { remoteTagged, remoteTags } from './remote-source.ts';
import type { SeenBlobs } from './seen-blobs.ts';
import { Turns } from './turns.ts';

type Modules = { client: RegistryClient; peer: RegistryPeer; transfers: Transfers };

type Options = {
  /** What the operator calls it. */
  name: string;
  /** Bytes of one request of an upload; a registry may want more. */
  chunkBytes: number;
  /** Where it has which blobs, as far as is known. */
  seen: SeenBlobs;
  /** Other repositories of it that may have a blob. */
  mayHave: (digest: Digest) => Promise<readonly Repository[]>;
};

/** What a registry says that takes no upload in parts. */
const NO_CHUNKS = new Set([400, 405, 411, 415, 501]);

/** Another registry, to copy to. */
export class RemoteTarget implements ReplicationTarget {
  readonly #options: Options;
  readonly #modules: Modules;
  readonly #lists = new Turns();
  #takesChunks = true;

  constructor(options: Options, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
  }

  tags(repository: Repository, o: Waiting): AsyncIterable<Tag> {
    return remoteTags(this.#modules.client, repository, o);
  }

  tagged(repository: Repository, tag: Tag, o: Waiting): Promise<Digest | undefined> {
    return remoteTagged(this.#modules.client, repository, tag, o);
  }

  async hasManifest(repository: Repository, digest: Digest, { signal }: Waiting): Promise<boolean> {
    const reference = { kind: 'digest', digest } as const;
    return (
      (await this.#modules.client.headManifest(repository, reference, { signal })) !== undefined
    );
  }

  manifest(
    repository: Repository,
    digest: Digest,
    { signal }: Waiting,
  ): Promise<FoundManifest | undefined> {
    const reference = { kind: 'digest', digest } as const;
    return this.#modules.client.getManifest(repository, reference, { signal });
  }

  async provide(
    repository: Repository,
    blob: WantedBlob,
    supply: BlobSupply,
    { signal }: Waiting,
  ): Promise<'present' | 'mounted' | 'copied'> {
    const { client } = this.#modules;
    const { seen } = this.#options;
    const { digest } = blob;
    const found = await client.headBlob(repository, digest, { signal });
    if (found === undefined) {
      const mounted = await this.#mount(repository, digest, signal);
      if (mounted !== 'mounted') await this.#push(repository, blob, supply, mounted, signal);
      seen.note(digest, repository);
      return mounted === 'mounted' ? 'mounted' : 'copied';
    }
    seen.note(digest, repository);
    return 'present';
  }

  async keep(): Promise<void> {
    // How long it keeps what nothing names is the registry's own affair.
  }

  async putManifest(
    repository: Repository,
    reference: Reference,
    manifest: FoundManifest & { parsed: ParsedManifest },
    { signal }: Waiting,
  ): Promise<void> {
    const { listed } = await this.#modules.peer.putManifest(repository, reference, manifest, {
      signal,
    });
    if (!listed) await this.#listUnder(repository, manifest, signal);
  }

  async refer(
    repository: Repository,
    manifest: FoundManifest & { parsed: ParsedManifest },
    { signal }: Waiting,
  ): Promise<void> {
    const { subject } = manifest.parsed;
    if (subject === undefined) return;
    const own = await this.#modules.client.listReferrers(repository, subject.digest, { signal });
    if (own === undefined) await this.#listUnder(repository, manifest, signal);
  }

  async deleteTag(
    repository: Repository,
    tag: Tag,
    { signal }: Waiting,
  ): Promise<'deleted' | 'unknown' | 'refused'> {
    const { peer } = this.#modules;
    const verdict = await peer.deleteManifest(repository, { kind: 'tag', tag }, { signal });
    if (verdict !== 'refused') return verdict;
    // Some delete manifests alone, with all their tags: only when nothing else needs it.
    const digest = await this.tagged(repository, tag, { signal });
    if (digest === undefined) return 'unknown';
    for await (const other of this.tags(repository, { signal })) {
      if (other === tag) continue;
      const reference = { kind: 'tag', tag: other } as const;
      if (await this.#names(repository, reference, digest, signal)) return 'refused';
    }
    return peer.deleteManifest(repository, { kind: 'digest', digest }, { signal });
  }

  /** Whether a reference names a manifest, or an index that has it. */
  async #names(
    repository: Repository,
    reference: Reference,
    digest: Digest,
    signal: AbortSignal,
    level = 0,
  ): Promise<boolean> {
    const { client } = this.#modules;
    const head = await client.headManifest(repository, reference, { signal });
    if (head === undefined) return false;
    if (head.digest === digest) return true;
    if (head.digest !== undefined && !isIndexMediaType(head.mediaType)) return false;
    const found = await client.getManifest(repository, reference, { signal });
    if (found === undefined || found.digest === digest) return found !== undefined;
    if (!isIndexMediaType(found.mediaType)) return false;
    for (const child of parseManifest(found.bytes, found.mediaType).manifests) {
      if (child.digest === digest) return true;
      if (!isIndexMediaType(child.mediaType) || level >= INDEX_LEVELS_MAX) continue;
      const deeper = { kind: 'digest', digest: child.digest } as const;
      // oxlint-disable-next-line no-await-in-loop -- the first that names it will do
      if (await this.#names(repository, deeper, digest, signal, level + 1)) return true;
    }
    return false;
  }

  /** An upload that was begun for nothing is of use all the same. */
  async #mount(
    repository: Repository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<'mounted' | RemoteUpload | undefined> {
    const { client, peer } = this.#modules;
    const { seen, mayHave, name } = this.#options;
    const known = seen.repositoryWith(digest);
    const others = new Set([...(known ? [known] : []), ...(await mayHave(digest))]);
    others.delete(repository);
    for (const from of [...others].slice(0, MOUNTS_TRIED_MAX)) {
      // oxlint-disable-next-line no-await-in-loop -- the first that will do
      const there = await client.headBlob(from, digest, { signal }).catch(() => undefined);
      if (there === undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- the first that will do
      const begun = await peer.begin(repository, { digest, from }, { signal });
      const half = await this.#modules.transfers.transfer(name, repository, digest);
      return begun === 'mounted' || half === undefined ? begun : undefined;
    }
    return undefined;
  }

  async #push(
    repository: Repository,
    { digest, size }: WantedBlob,
    supply: BlobSupply,
    begun: RemoteUpload | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { peer, transfers } = this.#modules;
    const { name, chunkBytes } = this.#options;
    const whole = async (): Promise<void> => {
      const upload = begun ?? (await this.#begin(repository, signal));
      await peer.finish(upload, digest, { size, body: bodyOf(supply, { start: 0 }) }, { signal });
    };
    if (size <= chunkBytes || !this.#takesChunks) return whole();
    const half = await this.#halfPushed(repository, digest, signal);
    let upload = half ?? begun ?? (await this.#begin(repository, signal));
    const step = Math.max(chunkBytes, upload.chunkMin);
    try {
      while (upload.offset < size) {
        const { offset: start } = upload;
        const end = Math.min(size, start + step);
        const body = bodyOf(supply, { start, end });
        // oxlint-disable-next-line no-await-in-loop -- one part after the other
        upload = await peer.append(upload, end - start, body, { signal });
        // oxlint-disable-next-line no-await-in-loop -- one part after the other
        await transfers.setTransfer(name, repository, digest, JSON.stringify(upload));
      }
      await peer.finish(upload, digest, undefined, { signal });
    } catch (err) {
      const status = statusOf(err);
      if (status === undefined || status >= 500 || status === 429) throw err;
      await transfers.dropTransfer(name, repository, digest);
      if (upload.offset > 0 || !NO_CHUNKS.has(status)) throw err;
      this.#takesChunks = false;
      begun = undefined;
      return whole();
    }
    await transfers.dropTransfer(name, repository, digest);
  }

  /** An upload that an earlier attempt left, as the registry says where it stands. */
  async #halfPushed(
    repository: Repository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<RemoteUpload | undefined> {
    const { peer, transfers } = this.#modules;
    const { name } = this.#options;
    const state = await transfers.transfer(name, repository, digest);
    if (state === undefined) return undefined;
    const { location, chunkMin = 0 }: Partial<RemoteUpload> = JSON.parse(state);
    const upload = location === undefined ? undefined : await peer.status(location, { signal });
    if (upload !== undefined) return { ...upload, chunkMin };
    await transfers.dropTransfer(name, repository, digest);
    return undefined;
  }

  async #begin(repository: Repository, signal: AbortSignal): Promise<RemoteUpload> {
    const upload = await this.#modules.peer.begin(repository, undefined, { signal });
    if (upload !== 'mounted') return upload;
    throw refused('the registry answers that it mounted a blob that was not to be mounted');
  }

  async #listUnder(
    repository: Repository,
    manifest: FoundManifest & { parsed: ParsedManifest },
    signal: AbortSignal,
  ): Promise<void> {
    const { subject } = manifest.parsed;
    if (subject === undefined) return;
    await this.#lists.run(`${repository}@${subject.digest}`, { signal }, () =>
      this.#list(repository, subject.digest, manifest, signal),
    );
  }

  /**
   * Where the registry lists no referrers itself, their list is an index under a tag
   * (distribution-spec "Referrers Tag Schema"). Entries of others stay.
   */
  async #list(
    repository: Repository,
    subject: Digest,
    { digest, bytes, mediaType, parsed }: FoundManifest & { parsed: ParsedManifest },
    signal: AbortSignal,
  ): Promise<void> {
    const { client, peer } = this.#modules;
    const reference = fallbackTag(subject);
    const found = await client.getManifest(repository, reference, { signal });
    const known = found === undefined ? [] : entriesOf(found.bytes);
    if (known.some((one) => one['digest'] === digest)) return;
    const artifactType = parsed.artifactType || parsed.config?.mediaType;
    const { annotations } = parsed;
    const entry = {
      mediaType,
      digest,
      size: bytes.length,
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    };
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [...known, entry] };
    const text = Buffer.from(JSON.stringify(index));
    const listed = { bytes: text, mediaType: OCI_INDEX, digest: digestOf(text) };
    await peer.putManifest(repository, reference, listed, { signal });
  }
}

/** As they are: what is not known of them here stays with them. */
function entriesOf(bytes: Buffer): Record<string, unknown>[] {
  if (parseManifest(bytes).kind !== 'index') return [];
  const { manifests }: { manifests: (Descriptor & Record<string, unknown>)[] } = JSON.parse(
    bytes.toString(),
  );
  return manifests;
}

function statusOf(err: unknown): number | undefined {
  return err instanceof DistributionError && err.data.code === 'HTTP_STATUS'
    ? err.data.status
    : undefined;
}

/** May be asked for again when the registry wants a token first. */
function bodyOf(
  supply: BlobSupply,
  range: { start: number; end?: number },
): () => AsyncIterable<Buffer> {
  return async function* body() {
    yield* await supply.open(range);
  };
}
