import { LRUCache } from 'lru-cache';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { signStatement } from '../../proto/chunks/statement.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { STATEMENT_CACHE_MAX } from './constants.ts';
import type { FleetMetrics } from './metrics.ts';

type StatementModules = {
  catalog: {
    blobChunks(digest: Digest): Promise<{ size: number; root: Buffer } | undefined>;
  };
  signingKey: () => SigningKey;
  metrics: Pick<FleetMetrics, 'statements'>;
};

/** Signs what the hub found when it hashed a blob. */
export class Statements {
  readonly #modules: StatementModules;
  readonly #signed = new LRUCache<Digest, { keyId: Buffer; size: number; bytes: Buffer }>({
    max: STATEMENT_CACHE_MAX,
  });

  constructor(modules: StatementModules) {
    this.#modules = modules;
  }

  /**
   * The signed statement about a blob; undefined when the hub has no such blob or it is too small
   * to have chunks. Says nothing about rights.
   */
  async statementFor(digest: Digest): Promise<Buffer | undefined> {
    const bytes = (await this.#find(digest))?.bytes;
    this.#modules.metrics.statements.inc({ result: bytes === undefined ? 'none' : 'signed' });
    return bytes;
  }

  async #find(digest: Digest): Promise<{ size: number; bytes: Buffer } | undefined> {
    const key = this.#modules.signingKey();
    const known = this.#signed.get(digest);
    if (known?.keyId.equals(key.keyId)) return known;
    const chunks = await this.#modules.catalog.blobChunks(digest);
    if (chunks === undefined || chunks.size <= UNCHUNKED_MAX_BYTES) return undefined;
    const { size, root } = chunks;
    const bytes = signStatement({ digest, size, root }, key);
    const entry = { keyId: key.keyId, size, bytes };
    this.#signed.set(digest, entry);
    return entry;
  }
}
