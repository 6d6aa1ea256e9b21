import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import { collectFromPeers, type PeerQuestion } from '../fetch/ask-peers.ts';
import { FarSearches } from '../fetch/far-search.ts';
import { MEMBER_SAMPLE, MEMBER_SEARCH_MAX } from '../fetch/constants.ts';
import type { CallOptions, PeerLink, Swarm } from '../fetch/ports.ts';
import type { StaleTag, TagSource } from '../mirror/ports.ts';
import {
  TAGS_MAX,
  TAG_ASKS_MAX,
  TAG_ASK_TIMEOUT_MS,
  TAG_COMPARED_MS,
  TAG_FRESH_MS,
  TAG_SEARCHES_MAX,
  TAG_SEARCH_MS,
  TAG_SETTLE_MS,
} from './constants.ts';
import type { TagMetrics } from './metrics.ts';
import type { TagAuthority } from './ports.ts';
import { keyOf, type HeldTag, type TagBook } from './tag-book.ts';

export type TagsModules = {
  book: TagBook;
  hub: TagAuthority;
  swarm: Swarm;
  metrics: TagMetrics;
  logger: Logger;
};

/** No misbehaviour: honest news under a key or clock that differs from ours. */
const NO_PROOF = ['UNKNOWN_KEY', 'REVOKED_KEY', 'NOT_YET_VALID', 'WRONG_FLEET'];

/** Gathers what the hub signs about tags, for the time when it cannot be asked. */
export class Tags implements TagSource {
  readonly #modules: TagsModules;
  readonly #far: FarSearches;
  readonly #now: () => number;
  readonly #asking = new Map<string, Promise<void>>();
  readonly #searching = new Map<string, Promise<void>>();
  /** Names whose statements were compared with those of peers a moment ago. */
  readonly #compared = new LRUCache<string, true>({ max: TAGS_MAX, ttl: TAG_COMPARED_MS });
  readonly #stop = new AbortController();

  constructor(options: { now?: () => number }, modules: TagsModules) {
    this.#now = options.now ?? Date.now;
    this.#modules = modules;
    this.#far = new FarSearches(modules);
  }

  /** Whether the hub answered of late. */
  get online(): boolean {
    return this.#modules.hub.online;
  }

  /**
   * The hub has just answered what a name means; undefined: that there is none. Asks it for the
   * statement in the background, unless that is here.
   */
  resolved(name: TagName, digest: Digest | undefined): void {
    const { book } = this.#modules;
    book.heard(name, digest);
    if (digest === undefined || this.#stop.signal.aborted) return;
    const held = book.get(name);
    const ageMs = held === undefined ? Number.POSITIVE_INFINITY : this.#ageOf(held);
    if (ageMs < TAG_FRESH_MS) return;
    const key = keyOf(name);
    if (this.#asking.has(key) || this.#asking.size >= TAG_ASKS_MAX) return;
    this.#asking.set(
      key,
      this.#ask(name).finally(() => this.#asking.delete(key)),
    );
  }

  /**
   * What the newest statement of this age at most says, of those held here and of those that peers
   * tell of in a moment. Says nothing about rights.
   * @throws the reason of the signal
   */
  async newest(name: TagName, maxAgeMs: number, o: CallOptions): Promise<StaleTag | undefined> {
    const own = this.#heldFor(name, maxAgeMs);
    const isCompared = own !== undefined && this.#compared.has(keyOf(name));
    if (!isCompared) await this.#search(name, own !== undefined, o);
    const held = this.#heldFor(name, maxAgeMs);
    if (held === undefined) {
      this.#far.begin(keyOf(name), this.#question(name));
      return undefined;
    }
    const { digest, timeMs } = held.statement;
    return { digest, timeMs, source: held === own ? 'own' : 'peer' };
  }

  /** For a peer that asks. */
  tagStatement(name: TagName): { bytes: Buffer; digest: Digest } | undefined {
    const held = this.#modules.book.get(name);
    return held && { bytes: held.bytes, digest: held.statement.digest };
  }

  /** Takes in what the last run left. */
  restore(statements: readonly Buffer[]): void {
    for (const bytes of statements) {
      try {
        this.#take(bytes, 'disk');
      } catch (err) {
        this.#modules.logger.debug({ reason: messageOf(err) }, 'stored tag statement refused');
      }
    }
  }

  /** Ends the questions under way. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the agent is stopping'));
    await Promise.all([this.#far.close(), ...this.#asking.values(), ...this.#searching.values()]);
  }

  #ageOf(held: HeldTag): number {
    return this.#now() - held.statement.timeMs;
  }

  #heldFor(name: TagName, maxAgeMs: number): HeldTag | undefined {
    const held = this.#modules.book.get(name);
    return held !== undefined && this.#ageOf(held) <= maxAgeMs ? held : undefined;
  }

  #take(bytes: Buffer, source: 'hub' | 'peer' | 'disk') {
    const { book, metrics } = this.#modules;
    try {
      const taken = book.take(bytes);
      metrics.received.inc({ source, outcome: taken.isNews ? 'kept' : 'older' });
      return taken;
    } catch (err) {
      metrics.received.inc({ source, outcome: 'refused' });
      throw err;
    }
  }

  async #ask(name: TagName): Promise<void> {
    const { hub, logger } = this.#modules;
    using limit = deadline(TAG_ASK_TIMEOUT_MS, this.#stop.signal);
    try {
      const bytes = await hub.requestTag(name, { signal: limit.signal });
      if (bytes !== 'not-found') this.#take(bytes, 'hub');
    } catch (err) {
      logger.debug({ ...name, reason: messageOf(err) }, 'no tag statement from the hub');
    }
  }

  /** One search for a name at a time, which puts what it finds into the book. */
  async #search(name: TagName, isHeld: boolean, o: CallOptions): Promise<void> {
    const key = keyOf(name);
    let searching = this.#searching.get(key);
    if (searching === undefined) {
      if (this.#searching.size >= TAG_SEARCHES_MAX || this.#stop.signal.aborted) return;
      searching = this.#askPeers(name, isHeld).finally(() => this.#searching.delete(key));
      this.#searching.set(key, searching);
    }
    await abortable(searching, o.signal);
  }

  async #askPeers(name: TagName, isHeld: boolean): Promise<void> {
    const { swarm, logger } = this.#modules;
    const bounds = isHeld
      ? { membersMax: MEMBER_SAMPLE, timeMs: TAG_SETTLE_MS, settleMs: TAG_SETTLE_MS }
      : { membersMax: MEMBER_SEARCH_MAX, timeMs: TAG_SEARCH_MS, settleMs: TAG_SETTLE_MS };
    try {
      await collectFromPeers(swarm, this.#question(name), { ...bounds, signal: this.#stop.signal });
      this.#compared.set(keyOf(name), true);
    } catch (err) {
      logger.debug({ ...name, reason: messageOf(err) }, 'search for a tag statement failed');
    }
  }

  /** Asks one peer for a statement, and puts what it gives into the book. */
  #question(name: TagName): PeerQuestion<true> {
    return async (link, o) => {
      const bytes = await link.tag(name, o);
      return bytes === undefined ? undefined : this.#takeFrom(link, bytes, name);
    };
  }

  #takeFrom(link: PeerLink, bytes: Buffer, name: TagName): true | undefined {
    const { swarm, logger } = this.#modules;
    const fields = { ...name, node: link.node };
    try {
      const { statement } = this.#take(bytes, 'peer');
      if (keyOf(statement) === keyOf(name)) return true;
      swarm.ban(link.peerId, 'tag-invalid', { ...fields, reason: 'a statement of another name' });
    } catch (err) {
      logger.debug({ ...fields, reason: messageOf(err) }, 'tag statement of a peer refused');
      if (!hasCode(err, ...NO_PROOF)) swarm.ban(link.peerId, 'tag-invalid', { ...fields, err });
    }
    return undefined;
  }
}
