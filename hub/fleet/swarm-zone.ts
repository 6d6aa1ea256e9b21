import type { ChunkLayout } from '../../proto/chunks/layout.ts';
import { FEEDERS_PER_ZONE } from './constants.ts';
import { ZoneCrossings } from './zone-crossings.ts';

/** Members of one zone that hold or fetch one blob, and what of it the zone has. */
export class SwarmZone {
  readonly members: string[] = [];
  /** Members that hold all. */
  completeCount = 0;
  readonly #feeders = new Set<string>();
  /** How many members hold each chunk, those left out that hold all. */
  readonly #holders: Uint32Array;
  #crossings: ZoneCrossings | undefined;

  constructor(layout: ChunkLayout) {
    this.#holders = new Uint32Array(layout.chunkCount);
  }

  /** Bytes of the table that grows with the blob. */
  static tableBytes(layout: ChunkLayout): number {
    return layout.chunkCount * 4;
  }

  /** Lets a member in; returns its place. */
  join(peerId: string): number {
    return this.members.push(peerId) - 1;
  }

  /** Takes out the member at this place; returns who has the place from now on, if anybody. */
  leave(peerId: string, place: number): string | undefined {
    this.#feeders.delete(peerId);
    this.#crossings?.leave(peerId);
    const last = this.members.pop();
    if (last === undefined || last === peerId) return undefined;
    this.members[place] = last;
    return last;
  }

  /** Whether the member fetches from other zones for this one; room is taken by the first. */
  isFeeder(peerId: string): boolean {
    if (this.#feeders.size < FEEDERS_PER_ZONE) this.#feeders.add(peerId);
    return this.#feeders.has(peerId);
  }

  /** One member more holds the chunk. */
  gained(index: number, nowMs: number): void {
    this.#holders[index] = (this.#holders[index] ?? 0) + 1;
    this.#crossings?.arrived(index, nowMs);
  }

  /** One member less holds the chunk. */
  lost(index: number): void {
    this.#holders[index] = (this.#holders[index] ?? 0) - 1;
  }

  /** Some member holds all now. */
  gainedAll(nowMs: number): void {
    this.#crossings?.arrivedAll(nowMs);
  }

  /** As `ZoneCrossings.grant`. */
  cross(
    peerId: string,
    wanted: readonly number[],
    clock: { nowMs: number; isSought: (index: number) => boolean },
  ): number[] {
    if (wanted.length === 0) return [];
    this.#crossings ??= new ZoneCrossings();
    return this.#crossings.grant(peerId, wanted, clock);
  }

  /** Whether some member holds the chunk. */
  has(index: number): boolean {
    return this.completeCount > 0 || (this.#holders[index] ?? 0) > 0;
  }

  /** Chunks that a member fetches from other zones. */
  crossingsOf(peerId: string): number {
    return this.#crossings?.openOf(peerId) ?? 0;
  }
}
