import { HELPFUL_PEERS_KEPT, SLOW_PEERS_KEPT, SLOW_PEER_MS } from './constants.ts';
import type { Swarm } from './ports.ts';

const MEMORIES = new WeakMap<Swarm, AnswerMemory>();

/** Which members of a swarm had answers of late, and which have not even said no. */
export class AnswerMemory {
  /** The latest first: what one thing came from, others may too. */
  #helpful: readonly string[] = [];
  /** Until when they are asked after all others; the oldest entry first. */
  readonly #slow = new Map<string, number>();

  static of(swarm: Swarm): AnswerMemory {
    const memory = MEMORIES.get(swarm) ?? new AnswerMemory();
    MEMORIES.set(swarm, memory);
    return memory;
  }

  get helpful(): readonly string[] {
    return this.#helpful;
  }

  isSlow(peerId: string): boolean {
    return (this.#slow.get(peerId) ?? 0) > performance.now();
  }

  hadAnswer(peerId: string): void {
    const others = this.#helpful.filter((id) => id !== peerId);
    this.#helpful = [peerId, ...others].slice(0, HELPFUL_PEERS_KEPT);
  }

  /** It answered, if only that it has nothing. */
  answered(peerId: string): void {
    this.#slow.delete(peerId);
  }

  /** It has not answered so far, or cannot be reached. */
  isLate(peerId: string): void {
    this.#slow.delete(peerId);
    this.#slow.set(peerId, performance.now() + SLOW_PEER_MS);
    const [oldest] = this.#slow.keys();
    if (oldest !== undefined && this.#slow.size > SLOW_PEERS_KEPT) this.#slow.delete(oldest);
  }
}
