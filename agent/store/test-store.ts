// Stores in a folder of their own, and content to put into them.
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES, chunkRange, layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { FsContentStore } from './content-store.ts';
import { createStoreMetrics } from './metrics.ts';
import type { CreateBlob, StoredBlob } from './port.ts';
import type { StoreOptions } from './store-options.ts';

export const LOGGER = createLogger({ level: 'silent', name: 'test' });
export const ORIGIN = { namespace: 'hub', repository: 'team/app' };

export type Sample = { bytes: Buffer; input: CreateBlob };

/** A blob of so many whole leaves and a bit. */
export function sampleOf(leaves: number, tail = 17): Sample {
  const bytes = randomBytes(leaves * LEAF_BYTES + tail);
  const hasher = new ContentHasher();
  hasher.update(bytes);
  const { digests, leaves: row } = hasher.finish();
  const hashes = chunkHashesFromLeaves(row, layoutOf(bytes.length));
  const statement = Buffer.from('a signed statement');
  const { length: size } = bytes;
  return { bytes, input: { digest: digests.sha256, size, statement, hashes, origin: ORIGIN } };
}

/** Writes these chunks, or all. */
export async function writeChunks(
  blob: StoredBlob,
  bytes: Buffer,
  indices: Iterable<number> = Array(blob.layout.chunkCount).keys(),
): Promise<void> {
  for (const index of indices) {
    const { start, end } = chunkRange(blob.layout, index);
    // oxlint-disable-next-line no-await-in-loop -- in this order
    await blob.write(index, bytes.subarray(start, end));
  }
}

export async function readAll(blob: StoredBlob): Promise<Buffer> {
  const into = Buffer.alloc(blob.size);
  await blob.read(into, 0);
  return into;
}

/** A data folder and the stores opened on it. */
export class StoreFolder implements AsyncDisposable {
  readonly dataDir: string;
  readonly registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  readonly metrics = createStoreMetrics(this.registry);
  readonly logger = LOGGER;
  readonly #open: FsContentStore[] = [];

  private constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  static async make(): Promise<StoreFolder> {
    return new StoreFolder(await mkdtemp(join(tmpdir(), 'flotilla-store-')));
  }

  async start(options: Partial<StoreOptions> = {}): Promise<FsContentStore> {
    const { dataDir } = this;
    const store = await FsContentStore.open(
      { dataDir, quotaBytes: 100 * LEAF_BYTES, bootId: 'boot-1', ...options },
      { logger: LOGGER, metrics: this.metrics },
    );
    this.#open.push(store);
    return store;
  }

  /** Leaves these samples behind, whole, as a run that stopped cleanly does. */
  async fill(...samples: Sample[]): Promise<void> {
    const store = await this.start();
    // oxlint-disable-next-line no-await-in-loop -- in this order
    for (const { bytes, input } of samples) await writeChunks(await store.create(input), bytes);
    await store.close();
  }

  /** The value of a metric, its labels included in the name. */
  async metric(name: string): Promise<number> {
    const lines = (await this.registry.text()).split('\n');
    const line = lines.find((text) => text.startsWith(`flotilla_agent_${name} `));
    return Number(line?.split(' ').at(-1));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#open.map((store) => store.close()));
    await rm(this.dataDir, { recursive: true, force: true });
  }
}
