import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { signTagStatement, type TagName } from '../../proto/trust/tag-statement.ts';
import { TAG_STATEMENT_CACHE_MAX, TAG_STATEMENT_CACHE_MS } from './constants.ts';
import type { FleetMetrics } from './metrics.ts';

type TagModules = {
  catalog: { tagged(repository: string, tag: string): Promise<Digest | undefined> };
  /** Whether everybody may read the repository. */
  isPublic: (repository: string) => boolean | Promise<boolean>;
  signingKey: () => SigningKey;
  metrics: Pick<FleetMetrics, 'tags'>;
};

type Signed = { keyId: Buffer; digest: Digest; timeMs: number; bytes: Buffer };

/** Signs what tags name now. A statement may be passed on by anybody, so public names only. */
export class TagStatements {
  readonly #options: { fleetId: string; now: () => number };
  readonly #modules: TagModules;
  readonly #latest = new LRUCache<string, Signed>({ max: TAG_STATEMENT_CACHE_MAX });

  constructor(options: { fleetId: string; now: () => number }, modules: TagModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /** undefined: no such tag, or not everybody may read it. The tag is read anew each time. */
  async statementFor(name: TagName): Promise<Buffer | undefined> {
    const bytes = await this.#find(name);
    this.#modules.metrics.tags.inc({ result: bytes === undefined ? 'none' : 'signed' });
    return bytes;
  }

  async #find({ namespace, repository, tag }: TagName): Promise<Buffer | undefined> {
    const { catalog, isPublic } = this.#modules;
    if (namespace !== HUB_NAMESPACE || !(await isPublic(repository))) return undefined;
    // From before the look: a tag that moves meanwhile gets a later statement than this one.
    const timeMs = this.#options.now();
    const digest = await catalog.tagged(repository, tag);
    const key = `${repository}:${tag}`;
    if (digest === undefined) {
      this.#latest.delete(key);
      return undefined;
    }
    const latest = this.#latest.get(key);
    if (latest !== undefined && this.#isReusable(latest, digest, timeMs)) return latest.bytes;
    const { fleetId } = this.#options;
    const signer = this.#modules.signingKey();
    const statement = { fleetId, namespace, repository, tag, digest, timeMs };
    const bytes = signTagStatement(statement, signer);
    this.#latest.set(key, { keyId: signer.keyId, digest, timeMs, bytes });
    return bytes;
  }

  #isReusable(latest: Signed, digest: Digest, nowMs: number): boolean {
    const ageMs = nowMs - latest.timeMs;
    const isYoung = ageMs >= 0 && ageMs < TAG_STATEMENT_CACHE_MS;
    const sameKey = latest.keyId.equals(this.#modules.signingKey().keyId);
    return isYoung && sameKey && latest.digest === digest;
  }
}
