import { askPeers, type PeerQuestion } from './ask-peers.ts';
import { FAR_SEARCHES_MAX, FAR_SEARCH_MEMBERS_MAX, FAR_SEARCH_MS } from './constants.ts';
import type { Swarm } from './ports.ts';

const FAR = { membersMax: FAR_SEARCH_MEMBERS_MAX, timeMs: FAR_SEARCH_MS };

/**
 * Goes on with searches that found nothing in a reader's time: in the background, among many more
 * members. What is found is for the next time the runtime asks; whoever had it is asked first then.
 */
export class FarSearches {
  readonly #swarm: Swarm;
  readonly #running = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();

  constructor(modules: { swarm: Swarm }) {
    this.#swarm = modules.swarm;
  }

  /** `question` keeps what it finds. Nothing happens while the same search or too many run. */
  begin<T>(key: string, question: PeerQuestion<T>): void {
    const isIdle = !this.#running.has(key) && !this.#stop.signal.aborted;
    if (!isIdle || this.#running.size >= FAR_SEARCHES_MAX) return;
    const searching = askPeers(this.#swarm, question, this.#stop, FAR).then(
      () => undefined,
      () => undefined,
    );
    this.#running.set(
      key,
      searching.finally(() => this.#running.delete(key)),
    );
  }

  /** Ends the searches under way. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the agent is stopping'));
    await Promise.all(this.#running.values());
  }
}
