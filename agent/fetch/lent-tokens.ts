import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Grant } from '../../proto/trust/grant.ts';
import { LENT_TOKENS_MAX } from './constants.ts';

/** A token that the hub lent this node together with a grant; both end at the same time. */
export type LentToken = { token: string; notAfterMs: number; manifestDigest: Digest };

/** What this node reads repositories with that not everybody may read; the newest of each. */
export class LentTokens {
  readonly #now: () => number;
  readonly #tokens = new LRUCache<string, LentToken>({ max: LENT_TOKENS_MAX });

  constructor(options: { now: () => number }) {
    this.#now = options.now;
  }

  keep(
    grant: Pick<Grant, 'namespace' | 'repository' | 'manifestDigest' | 'notAfterMs'>,
    token: string,
  ): void {
    const { namespace, repository, manifestDigest, notAfterMs } = grant;
    this.#tokens.set(`${namespace}\n${repository}`, { token, manifestDigest, notAfterMs });
  }

  /** undefined when there is none, or it has ended. */
  get(namespace: string, repository: string): LentToken | undefined {
    const lent = this.#tokens.get(`${namespace}\n${repository}`);
    return lent !== undefined && this.#now() < lent.notAfterMs ? lent : undefined;
  }

  /** As an Authorization header. */
  header(namespace: string, repository: string): string | undefined {
    const lent = this.get(namespace, repository);
    return lent && `Bearer ${lent.token}`;
  }
}
