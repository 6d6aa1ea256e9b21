import type { Digest } from '../../proto/oci/digest.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import {
  parseRepository,
  parseTag,
  type Reference,
  type Repository,
  type Tag,
} from '../../proto/oci/name.ts';
import type { BlobReader } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import { PAGE, READ_BYTES, REFERRERS_MAX } from './constants.ts';
import type { FoundManifest, ReplicationSource, Waiting } from './place.ts';

type Modules = {
  catalog: Pick<Catalog, 'repositories' | 'tags' | 'tagged' | 'manifest' | 'blobIn' | 'referrers'>;
  blobs: BlobReader;
};

/** Bytes of referrers asked for at a time. */
const REFERRERS_BYTES = 4 * 1024 * 1024;

/** This hub, to copy from. */
export class LocalSource implements ReplicationSource {
  readonly #modules: Modules;

  constructor(modules: Modules) {
    this.#modules = modules;
  }

  async *repositories(): AsyncIterable<Repository> {
    const { catalog } = this.#modules;
    for (let last: string | undefined; ;) {
      // oxlint-disable-next-line no-await-in-loop -- one page after the other
      const page = await catalog.repositories({ n: PAGE, ...(last === undefined ? {} : { last }) });
      yield* page.map(parseRepository);
      last = page.at(-1);
      if (page.length < PAGE) return;
    }
  }

  tags(repository: Repository): AsyncIterable<Tag> {
    return localTags(this.#modules.catalog, repository);
  }

  tagged(repository: Repository, tag: Tag): Promise<Digest | undefined> {
    return this.#modules.catalog.tagged(repository, tag);
  }

  async manifest(repository: Repository, of: Reference): Promise<FoundManifest | undefined> {
    const reference = of.kind === 'tag' ? { tag: of.tag } : { digest: of.digest };
    return this.#modules.catalog.manifest(repository, reference);
  }

  async hasBlob(repository: Repository, digest: Digest): Promise<boolean> {
    return (await this.#modules.catalog.blobIn(repository, digest)) !== undefined;
  }

  async openBlob(
    repository: Repository,
    digest: Digest,
    { signal, start, end }: Waiting & { start: number; end?: number },
  ): Promise<{ size: number; body: AsyncIterable<Buffer> } | undefined> {
    if (!(await this.hasBlob(repository, digest))) return undefined;
    const { blobs } = this.#modules;
    const known = await blobs.stat(digest);
    if (known === undefined) return undefined;
    const range = { start, end: Math.min(end ?? known.size, known.size) };
    return { size: known.size, body: bytesOf(blobs, digest, range, signal) };
  }

  async referrers(repository: Repository, subject: Digest): Promise<readonly Descriptor[]> {
    const all: Descriptor[] = [];
    for (let last: Digest | undefined; all.length <= REFERRERS_MAX;) {
      const page = { n: PAGE, bytes: REFERRERS_BYTES, ...(last === undefined ? {} : { last }) };
      // oxlint-disable-next-line no-await-in-loop -- one page after the other
      const found = await this.#modules.catalog.referrers(repository, subject, page);
      all.push(...found.referrers);
      last = found.referrers.at(-1)?.digest;
      if (!found.more || last === undefined) break;
    }
    return all;
  }
}

/** The tags of a repository of this hub. */
export async function* localTags(
  catalog: Pick<Catalog, 'tags'>,
  repository: Repository,
): AsyncIterable<Tag> {
  for (let last: string | undefined; ;) {
    const page = { n: PAGE, ...(last === undefined ? {} : { last }) };
    // oxlint-disable-next-line no-await-in-loop -- one page after the other
    const tags = (await catalog.tags(repository, page)) ?? [];
    yield* tags.map(parseTag);
    last = tags.at(-1);
    if (tags.length < PAGE) return;
  }
}

/** The blob is opened when its bytes are asked for, and closed behind them. */
async function* bytesOf(
  blobs: BlobReader,
  digest: Digest,
  { start, end }: { start: number; end: number },
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const blob = await blobs.open(digest);
  if (blob === undefined) throw new Error(`${digest} is not in the storage any more`);
  await using open = blob;
  for (let at = start; at < end;) {
    signal.throwIfAborted();
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, end - at));
    // oxlint-disable-next-line no-await-in-loop -- one piece after the other
    const got = await open.read(buffer, at);
    if (got === 0) throw new Error(`${digest} is shorter than it was`);
    at += got;
    yield buffer.subarray(0, got);
  }
}
