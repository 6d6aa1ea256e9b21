import { chunkRange } from '../../proto/chunks/layout.ts';
import type { PrefetchTask } from '../../proto/hubapi/prefetch.ts';
import { parseDigest, type Digest } from '../../proto/oci/digest.ts';
import { parseRepository, type Repository } from '../../proto/oci/name.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { eachAtOnce } from '../../proto/std/each.ts';
import { BLOBS_PARALLEL } from './constants.ts';
import { PrefetchError } from './errors.ts';
import { imageTree } from './image-tree.ts';
import type { PrefetchMetrics } from './metrics.ts';
import { ownPlatform } from './platforms.ts';
import type { PrefetchContent, PrefetchGrants, PrefetchStore } from './ports.ts';

export type TaskModules = {
  content: PrefetchContent;
  store: PrefetchStore;
  grants: PrefetchGrants;
  metrics: PrefetchMetrics;
};

export type TaskProgress = { doneBytes: number; totalBytes: number };

/** One image that is brought here; may be run again where it failed. */
export class ImageTask {
  readonly id: string;
  readonly digest: Digest;
  readonly repository: Repository;
  readonly #platforms: readonly string[];
  readonly #modules: TaskModules;
  #blobs: ReadonlyMap<Digest, number> = new Map();
  readonly #done = new Set<Digest>();
  #rightsEndMs = Infinity;

  /** @throws OciError for a task that names no image */
  constructor(task: PrefetchTask, modules: TaskModules) {
    this.id = task.id;
    this.digest = parseDigest(task.digest);
    this.repository = parseRepository(task.repository);
    this.#platforms = task.platforms.length === 0 ? [ownPlatform()] : task.platforms;
    this.#modules = modules;
  }

  /** When the rights to it end that were given with it, ms since 1970. */
  get rightsEndMs(): number {
    return this.#rightsEndMs;
  }

  /** Takes rights of the hub. @throws TrustError, Error for what does not verify */
  take(rights: NonNullable<PrefetchTask['rights']>): void {
    const { repository, digest } = this;
    const { grant, digests, token } = rights;
    const bundle = {
      grant: Buffer.from(grant, 'base64'),
      digests: digests.map(parseDigest),
      ...(token === undefined ? {} : { token }),
    };
    const place = { namespace: HUB_NAMESPACE, repository, digest };
    this.#rightsEndMs = this.#modules.grants.put(bundle, place);
  }

  progress(): TaskProgress {
    let [doneBytes, totalBytes] = [0, 0];
    for (const [digest, size] of this.#blobs) {
      totalBytes += size;
      doneBytes += this.#done.has(digest) ? size : Math.min(size, this.#bytesOf(digest));
    }
    return { doneBytes, totalBytes };
  }

  /**
   * Brings here what is missing; how many bytes that was.
   * @throws PrefetchError for what no second try changes; errors of fetching
   */
  async run(signal: AbortSignal): Promise<number> {
    using holds = new DisposableStack();
    const { blobs } = await imageTree(this.digest, this.#platforms, async (digest) =>
      this.#modules.content.manifest(await this.#requestOf(digest, signal), { signal }),
    );
    this.#blobs = blobs;
    const missing = await this.#missing(holds);
    const bytes = missing.reduce((sum, digest) => sum + (blobs.get(digest) ?? 0), 0);
    const { doneBytes, totalBytes } = this.progress();
    this.#checkRoom(totalBytes - doneBytes);
    await eachAtOnce(missing, { atOnce: BLOBS_PARALLEL, signal }, (digest, o) =>
      this.#fetch(digest, holds, o.signal),
    );
    return bytes;
  }

  /** What is here stays here as long as the rest is fetched. */
  async #missing(holds: DisposableStack): Promise<Digest[]> {
    const { store } = this.#modules;
    const missing: Digest[] = [];
    for (const digest of this.#blobs.keys()) {
      this.#hold(digest, holds);
      // oxlint-disable-next-line no-await-in-loop -- one after the other, behind all else
      if (this.#isWhole(digest) || (await store.getSmall(digest)) !== undefined) {
        this.#done.add(digest);
      } else missing.push(digest);
    }
    return missing;
  }

  async #fetch(digest: Digest, holds: DisposableStack, signal: AbortSignal): Promise<void> {
    const { content, metrics } = this.#modules;
    await content.prefetch(await this.#requestOf(digest, signal), { signal });
    this.#hold(digest, holds);
    this.#done.add(digest);
    metrics.bytes.inc(this.#blobs.get(digest) ?? 0);
  }

  async #requestOf(digest: Digest, signal: AbortSignal) {
    const { repository } = this;
    const namespace = HUB_NAMESPACE;
    const { grants } = this.#modules;
    const grant = await grants.ensure(namespace, repository, digest, { signal });
    return { namespace, repository, digest, grant };
  }

  /** @throws PrefetchError NO_ROOM */
  #checkRoom(bytes: number): void {
    if (bytes === 0 || this.#modules.store.hasRoomFor(bytes)) return;
    const message =
      `no room for ${formatByteSize(bytes)} below the high-water mark of the store beside what ` +
      'is in use and pinned';
    throw new PrefetchError(message, { code: 'NO_ROOM', bytes });
  }

  #hold(digest: Digest, holds: DisposableStack): void {
    const blob = this.#modules.store.find(digest);
    if (blob !== undefined) holds.use(blob.retain());
  }

  #isWhole(digest: Digest): boolean {
    return this.#modules.store.find(digest)?.complete === true;
  }

  /** Of one that is here in part. */
  #bytesOf(digest: Digest): number {
    const blob = this.#modules.store.find(digest);
    if (blob === undefined) return 0;
    const { start, end } = chunkRange(blob.layout, 0);
    return blob.have.count * (end - start);
  }
}
