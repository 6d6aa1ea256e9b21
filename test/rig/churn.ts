import { hash } from 'node:crypto';
import { FsContentStore } from '../../agent/store/content-store.ts';
import { createStoreMetrics } from '../../agent/store/metrics.ts';
import type { CreateBlob } from '../../agent/store/port.ts';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES, layoutOf } from '../../proto/chunks/layout.ts';
import { chunkHashesFromLeaves } from '../../proto/chunks/merkle.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';

/** Different blobs that the churn writes; more than fit, so that there is always eviction. */
export const CHURN_BLOBS = 12;
export const CHURN_SMALL = 40;
export const CHURN_QUOTA = 30 * LEAF_BYTES;
const BLOB_BYTES = 4 * LEAF_BYTES + 100;
const SMALL_BYTES = 1_000;

/** The bytes of blob number n, the same in every process. */
export function churnBytes(n: number, size = BLOB_BYTES): Buffer {
  const bytes = Buffer.alloc(size, hash('sha256', `blob ${n}`, 'buffer'));
  for (let at = 0; at + 4 < size; at += LEAF_BYTES) bytes.writeUInt32BE(at, at);
  return bytes;
}

export function churnSmall(n: number): Buffer {
  return churnBytes(1000 + n, SMALL_BYTES);
}

export function churnInput(n: number): CreateBlob {
  const bytes = churnBytes(n);
  const hasher = new ContentHasher();
  hasher.update(bytes);
  const { digests, leaves, size } = hasher.finish();
  const hashes = chunkHashesFromLeaves(leaves, layoutOf(size));
  const origin = { namespace: 'hub', repository: 'team/app' };
  return { digest: digests.sha256, size, statement: Buffer.from('signed'), hashes, origin };
}

/** A store that trusts what an earlier process of this boot left. */
export async function churnStore(
  dataDir: string,
): Promise<{ store: FsContentStore; registry: MetricsRegistry }> {
  const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const store = await FsContentStore.open(
    { dataDir, quotaBytes: CHURN_QUOTA },
    {
      logger: createLogger({ level: 'silent', name: 'churn' }),
      metrics: createStoreMetrics(registry),
    },
  );
  return { store, registry };
}
