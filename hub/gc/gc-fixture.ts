import type { TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { BlobRemover } from '../blobs/port.ts';
import { KyselyGcStore } from '../catalog/gc-store.ts';
import { TestRegistry, type Drivers } from '../registry/registry-fixture.ts';
import { Collector, type CollectorOptions } from './collector.ts';
import { GarbageList, type Garbage } from './garbage.ts';
import { createGcMetrics } from './metrics.ts';
import { OrphanSearch } from './orphans.ts';

/** A registry over real HTTP, files and database, and collectors of what it does not use. */
export class TestGc {
  readonly registry: TestRegistry;
  readonly store: KyselyGcStore;
  readonly metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  readonly #gcMetrics = createGcMetrics(this.metrics);
  /** Added to the clock of the collectors. */
  aheadMs = 0;

  private constructor(registry: TestRegistry) {
    this.registry = registry;
    this.store = new KyselyGcStore(registry.catalog);
  }

  static async start(t: TestContext, drivers?: Drivers): Promise<TestGc> {
    return new TestGc(await TestRegistry.start(t, drivers === undefined ? {} : { drivers }));
  }

  collector(
    options: Partial<CollectorOptions> = {},
    modules: { store?: KyselyGcStore; blobs?: BlobRemover } = {},
  ): Collector {
    return new Collector(
      { graceMs: 0, quarantineMs: 0, now: () => Date.now() + this.aheadMs, ...options },
      {
        store: this.store,
        blobs: this.registry.blobs,
        metrics: this.#gcMetrics,
        logger: createLogger({ level: 'silent', name: 'test' }),
        ...modules,
      },
    );
  }

  /** Removes blobs, and stands still before the first of them until it may go on. */
  standing(): { blobs: BlobRemover; reached: Promise<void>; goOn: () => void } {
    const { blobs } = this.registry;
    const [reached, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const nameOf = blobs.nameOf?.bind(blobs);
    const remove = async (digest: Digest, name?: string): Promise<boolean> => {
      reached.resolve();
      await goOn.promise;
      return blobs.remove(digest, name);
    };
    const own = { remove, ...(nameOf === undefined ? {} : { nameOf }) };
    return { blobs: own, reached: reached.promise, goOn: goOn.resolve };
  }

  /** What a collection would begin with. */
  async garbage(options: Partial<CollectorOptions> = {}, n = 1000): Promise<Garbage[]> {
    const times = { graceMs: 0, quarantineMs: 0, now: () => Date.now() + this.aheadMs };
    const list = new GarbageList({ ...times, ...options }, { store: this.store });
    const found: Garbage[] = [];
    for (let last: string | undefined; ;) {
      const page = await list.garbage({ n, last });
      found.push(...page.entries);
      if (page.next === undefined) return found;
      last = page.next;
    }
  }

  /** Pushes an image of these layers by digest. */
  async pushImage(layers: readonly Buffer[], repository = 'team/app'): Promise<Digest> {
    for (const layer of layers) await this.registry.push(layer, repository);
    const manifest = imageOf(layers);
    const { status } = await this.putManifest(manifest, repository);
    if (status !== 201) throw new Error(`the registry answers ${status}`);
    return digestOf(manifest);
  }

  putManifest(manifest: Buffer, repository = 'team/app') {
    return this.registry.ask(`/v2/${repository}/manifests/${digestOf(manifest)}`, {
      method: 'PUT',
      headers: { 'content-type': OCI_MANIFEST },
      body: manifest,
    });
  }

  /** The answer to HEAD of a blob. */
  async head(bytes: Buffer, repository = 'team/app'): Promise<number> {
    const target = `/v2/${repository}/blobs/${digestOf(bytes)}`;
    return (await this.registry.ask(target, { method: 'HEAD' })).status;
  }

  /** Stores bytes as a hub does that is killed before it records them. */
  async strand(bytes: Buffer, algorithm: 'sha256' | 'sha512' = 'sha256'): Promise<void> {
    const pending = await this.registry.blobs.begin();
    await pending.append([bytes]);
    await pending.commit(digestOf(bytes, algorithm));
  }

  /** Goes once through all that is stored; how many blobs nobody knew of. */
  async searchOrphans(): Promise<number> {
    const { blobs } = this.registry;
    const logger = createLogger({ level: 'silent', name: 'test' });
    let count = 0;
    const orphans = { inc: () => void (count += 1) };
    const metrics = { orphans };
    const search = new OrphanSearch({ store: this.store, blobs, metrics, logger });
    // oxlint-disable-next-line no-await-in-loop -- one step after the other
    while (await search.step());
    return count;
  }

  async isStored(bytes: Buffer): Promise<boolean> {
    return (await this.registry.blobs.stat(digestOf(bytes))) !== undefined;
  }
}

/** A manifest whose first blob is its configuration. */
export function imageOf(blobs: readonly Buffer[]): Buffer {
  const [config, ...layers] = blobs.map((bytes) => ({
    mediaType: 'application/octet-stream',
    digest: digestOf(bytes),
    size: bytes.length,
  }));
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }));
}
