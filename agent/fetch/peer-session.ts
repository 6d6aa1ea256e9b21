import { deadline, sleep } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import {
  GRANT_RENEW_MS,
  HAVE_COMPLETE_MS,
  HAVE_WAIT_MS,
  LINK_MISSES_MAX,
  LINK_RETRY_MS,
  LINK_TIMEOUT_MS,
} from './constants.ts';
import type { ChunkSet } from './planner-port.ts';
import type { PeerAvailability, PeerLink, Swarm } from './ports.ts';

/** The blob that is asked about. */
export type SoughtBlob = {
  digest: Digest;
  size: number;
  chunkCount: number;
  /** What its chunks are checked against, as long as that is no statement. */
  session?: (() => Buffer | undefined) | undefined;
};

export type SessionModules = {
  swarm: Swarm;
  /** A valid grant for the blob, from the cache if it is fresh. */
  grant: (o: { signal: AbortSignal }) => Promise<GrantBundle | undefined>;
  onUp: (link: PeerLink) => void;
  onHave: (have: ChunkSet) => void;
  /** How long to leave the peer alone between two questions. */
  spacingMs: () => number;
};

/**
 * Follows what one peer holds of one blob: link, grant, then a question that the peer answers when
 * something changed. Ends by returning when the peer is of no use now.
 */
export class PeerSession {
  readonly #blob: SoughtBlob;
  readonly #modules: SessionModules;
  #known = 0;
  /** What `known` is about. */
  #session: Buffer | undefined;
  #grantedMs = 0;
  #misses = 0;
  #wake = new AbortController();

  constructor(blob: SoughtBlob, modules: SessionModules) {
    this.#blob = blob;
    this.#modules = modules;
  }

  /** What the peer said last is not to be relied on: ask anew, at once, and show the grant. */
  refresh(): void {
    this.#known = 0;
    this.#grantedMs = 0;
    this.#wake.abort(new Error('asked to refresh'));
  }

  /** Rejects with the reason of the signal, or with what the link threw. */
  async run(member: Membership, signal: AbortSignal): Promise<void> {
    const { spacingMs } = this.#modules;
    const link = await this.#link(member, signal);
    await this.#present(link, signal);
    this.#modules.onUp(link);
    while (!link.closed && this.#misses < LINK_MISSES_MAX) {
      signal.throwIfAborted();
      if (performance.now() - this.#grantedMs > GRANT_RENEW_MS) await this.#present(link, signal);
      const answer = await this.#ask(link, signal);
      if (answer === undefined) {
        this.#misses += 1;
        await this.#pause(LINK_RETRY_MS, signal);
      } else {
        this.#misses = 0;
        this.#take(link, answer);
        // What is complete in a session may be none any more when that ends.
        const isFinal = answer.complete && this.#session === undefined;
        await this.#pause(isFinal ? HAVE_COMPLETE_MS : spacingMs(), signal);
      }
    }
  }

  async #link(member: Membership, signal: AbortSignal): Promise<PeerLink> {
    using limit = deadline(LINK_TIMEOUT_MS, signal);
    return await this.#modules.swarm.link(member, { signal: limit.signal });
  }

  async #present(link: PeerLink, signal: AbortSignal): Promise<void> {
    using limit = deadline(LINK_TIMEOUT_MS, signal);
    const bundle = await this.#modules.grant({ signal: limit.signal });
    if (bundle === undefined || !(await link.openGrant(bundle, { signal: limit.signal }))) {
      throw new Error(`${link.node} takes no grant of ours`);
    }
    this.#grantedMs = performance.now();
  }

  async #ask(link: PeerLink, signal: AbortSignal): Promise<PeerAvailability | undefined> {
    using limit = deadline(HAVE_WAIT_MS + LINK_TIMEOUT_MS, signal);
    const session = this.#blob.session?.();
    if (session !== this.#session) this.#known = 0;
    this.#session = session;
    const known = { count: this.#known, waitMs: HAVE_WAIT_MS, session };
    try {
      return await link.have(this.#blob.digest, known, { signal: limit.signal });
    } catch (err) {
      if (!hasCode(err, 'NO_GRANT', 'BUSY')) throw err;
      if (hasCode(err, 'NO_GRANT')) this.#grantedMs = 0;
      return undefined;
    }
  }

  #take(link: PeerLink, answer: PeerAvailability): void {
    const { digest, size, chunkCount } = this.#blob;
    const { bitmap } = answer;
    if (answer.size !== size || bitmap.size !== chunkCount) {
      const detail = { digest, size, saidSize: answer.size, node: link.node };
      this.#modules.swarm.ban(link.peerId, 'protocol-violation', detail);
      throw new Error(`${link.node} tells another size`);
    }
    if (bitmap.count === this.#known) return;
    this.#known = bitmap.count;
    this.#modules.onHave(bitmap);
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#wake.signal.aborted) this.#wake = new AbortController();
    try {
      await sleep(ms, { signal: AbortSignal.any([signal, this.#wake.signal]) });
    } catch (err) {
      signal.throwIfAborted();
      if (!this.#wake.signal.aborted) throw err;
    }
  }
}
