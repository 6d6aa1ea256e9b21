import { LINKS_MAX } from '../../agent/fetch/constants.ts';
import { NewsPace } from '../../agent/fetch/news-pace.ts';
import { SwarmPlanner } from '../../agent/fetch/planner.ts';
import type { Planner, ReaderState } from '../../agent/fetch/planner-port.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';

/** One agent: what the shell around the planner keeps. */
export class SimNode {
  readonly id: number;
  readonly name: string;
  readonly zone: number;
  have: ChunkBitmap;
  /** undefined before the pull and after it. */
  planner: Planner | undefined;
  arrivedMs = Number.NaN;
  finishedMs = Number.NaN;
  alive = true;
  /** Vanished without a reset of its connections. */
  silent = false;
  /** The peer at each place, -1 for none. */
  readonly links = new Int32Array(LINKS_MAX).fill(-1);
  /** How many chunks the peer at each place told of. */
  readonly told = new Int32Array(LINKS_MAX);
  readonly placeOf = new Map<string, number>();
  /** Peers let go, and until when they are left alone. */
  readonly resting = new Map<number, number>();
  /** The connection each request went to. */
  readonly requests = new Map<number, number>();
  /** Peers named by the tracker, for when one is let go. */
  spares: string[] = [];
  leasesWanted = 0;
  bypassWanted = 0;
  leasesFlow = true;
  newsPace = new NewsPace({ startMs: 0 });
  #gap = 0;
  #waitingSinceMs: number | undefined;

  constructor(id: number, zone: number, chunkCount: number) {
    this.id = id;
    this.name = `n${id}`;
    this.zone = zone;
    this.have = new ChunkBitmap(chunkCount);
  }

  begin(nowMs: number, random: () => number): Planner {
    const { size } = this.have;
    this.arrivedMs = nowMs;
    this.newsPace = new NewsPace({ startMs: nowMs });
    this.planner = new SwarmPlanner({
      chunkCount: size,
      have: this.have,
      held: new ChunkBitmap(size),
      hub: true,
      startMs: nowMs,
      random,
    });
    return this.planner;
  }

  /** A runtime that reads from the start and takes whatever is there at once. */
  reader(nowMs: number): ReaderState {
    const before = this.#gap;
    while (this.#gap < this.have.size && this.have.has(this.#gap)) this.#gap += 1;
    if (this.#gap !== before || this.#waitingSinceMs === undefined) this.#waitingSinceMs = nowMs;
    return { chunk: this.#gap, waitingSinceMs: this.#waitingSinceMs, chunksPerSecond: 0 };
  }
}

/** The number in the name of a node. */
export function idOf(name: string): number {
  return Number(name.slice(1));
}
