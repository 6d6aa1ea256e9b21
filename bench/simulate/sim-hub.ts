import {
  ANNOUNCE_ACTIVE_MS,
  ANNOUNCE_FULL_MS,
  ANNOUNCE_RETRY_MAX_MS,
  ANNOUNCE_RETRY_MIN_MS,
  ANNOUNCE_SPACING_MS,
  ANNOUNCE_TIMEOUT_MS,
} from '../../agent/fetch/constants.ts';
import { TRACKER_SWEEP_MS } from '../../hub/fleet/constants.ts';
import { Tracker } from '../../hub/fleet/tracker.ts';
import type { BlobAnswer } from '../../hub/fleet/tracker.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import type { Calendar } from './calendar.ts';
import { HAPPENS } from './happenings.ts';
import type { Scenario } from './scenario.ts';
import type { SimNode } from './sim-node.ts';

const BLOB = digestOf(Buffer.from('the blob of the peak'));

/** What one agent's announcer remembers. */
type Line = {
  /** Number of the announcement under way, or of the last one. */
  number: number;
  underWay: boolean;
  /** Number of the plan that counts; older ones were overtaken by a nudge. */
  plan: number;
  plannedMs: number;
  answeredMs: number;
  failures: number;
  have: ChunkBitmap | undefined;
  wanted: number;
  bypassWanted: number;
  crossingsWanted: readonly number[];
  answer: BlobAnswer | undefined;
};

export type HubCalls = {
  answered: (node: SimNode, answer: BlobAnswer) => void;
  unanswered: (node: SimNode) => void;
  latencyMs: (node: SimNode) => number;
};

/** The tracker behind a queue, and the announcers of all agents in front of it. */
export class SimHub {
  readonly #scenario: Scenario;
  readonly #calendar: Calendar;
  readonly #calls: HubCalls;
  readonly #tracker: Tracker;
  readonly #lines: Line[];
  #freeMs = 0;

  constructor(
    scenario: Scenario,
    modules: { calendar: Calendar; random: () => number; nodes: number; calls: HubCalls },
  ) {
    this.#scenario = scenario;
    this.#calendar = modules.calendar;
    this.#calls = modules.calls;
    this.#tracker = new Tracker({ random: modules.random });
    this.#lines = Array.from({ length: modules.nodes }, () => ({
      number: 0,
      underWay: false,
      plan: 0,
      plannedMs: Number.POSITIVE_INFINITY,
      answeredMs: 0,
      failures: 0,
      have: undefined,
      wanted: 0,
      bypassWanted: 0,
      crossingsWanted: [],
      answer: undefined,
    }));
    this.#calendar.put(TRACKER_SWEEP_MS, HAPPENS.sweep, 0);
  }

  /** There is news: announce as soon as spacing allows. */
  nudge(node: SimNode, nowMs: number): void {
    const line = this.#line(node);
    if (line.underWay || line.failures > 0) return;
    this.#plan(node, Math.max(nowMs, line.answeredMs + ANNOUNCE_SPACING_MS));
  }

  /** The time of a planned announcement has come. */
  announce(node: SimNode, plan: number, nowMs: number): void {
    const line = this.#line(node);
    if (line.plan !== plan || line.underWay || !node.alive) return;
    line.underWay = true;
    line.plannedMs = Number.POSITIVE_INFINITY;
    line.number += 1;
    line.have = node.planner === undefined ? undefined : node.have.clone();
    line.wanted = node.leasesWanted;
    line.bypassWanted = node.bypassWanted;
    line.crossingsWanted = node.planner?.crossingsWanted(nowMs) ?? [];
    const latencyMs = this.#calls.latencyMs(node);
    if (this.#scenario.tracker !== false) {
      const startMs = Math.max(this.#freeMs, nowMs + latencyMs);
      this.#freeMs = startMs + this.#scenario.announceMs;
      this.#calendar.put(this.#freeMs, HAPPENS.tracker, node.id, line.number);
      if (this.#freeMs + latencyMs < nowMs + ANNOUNCE_TIMEOUT_MS) return;
    }
    const timeoutMs = this.#scenario.tracker === false ? 0 : ANNOUNCE_TIMEOUT_MS;
    this.#calendar.put(nowMs + timeoutMs, HAPPENS.unanswered, node.id, line.number);
  }

  /** The hub comes to an announcement. */
  track(node: SimNode, number: number, nowMs: number): void {
    const line = this.#line(node);
    if (line.number !== number) return;
    const { have, wanted, bypassWanted, crossingsWanted } = line;
    const asked = { hubChunksWanted: wanted, bypassWanted, crossingsWanted, leasable: true };
    const blob = { digest: BLOB, size: this.#scenario.sizeBytes, have, ...asked };
    const announcement = { peerId: node.name, zone: `z${node.zone}`, full: false, blobs: [blob] };
    line.answer = this.#tracker.announce(announcement, nowMs).blobs[0];
    const thereMs = nowMs + this.#calls.latencyMs(node);
    this.#calendar.put(thereMs, HAPPENS.answer, node.id, number);
  }

  answer(node: SimNode, number: number, nowMs: number): void {
    const line = this.#line(node);
    if (line.number !== number || !line.underWay || line.answer === undefined) return;
    line.underWay = false;
    line.failures = 0;
    line.answeredMs = nowMs;
    const { retryAfterMs } = line.answer;
    const ms = Math.min(ANNOUNCE_FULL_MS, Math.max(ANNOUNCE_ACTIVE_MS, retryAfterMs));
    const isDone = node.planner === undefined;
    this.#plan(node, nowMs + (isDone ? ANNOUNCE_FULL_MS : ms));
    if (!isDone) this.#calls.answered(node, line.answer);
  }

  unanswered(node: SimNode, number: number, nowMs: number, random: () => number): void {
    const line = this.#line(node);
    if (line.number !== number || !line.underWay) return;
    line.underWay = false;
    line.failures += 1;
    line.answeredMs = nowMs;
    const backoffMs = Math.min(ANNOUNCE_RETRY_MAX_MS, ANNOUNCE_RETRY_MIN_MS * 2 ** line.failures);
    this.#plan(node, nowMs + ANNOUNCE_RETRY_MIN_MS + random() * backoffMs);
    if (node.planner !== undefined) this.#calls.unanswered(node);
  }

  sweep(nowMs: number): void {
    this.#tracker.sweep(nowMs);
    this.#calendar.put(nowMs + TRACKER_SWEEP_MS, HAPPENS.sweep, 0);
  }

  #line(node: SimNode): Line {
    const line = this.#lines[node.id];
    if (line === undefined) throw new RangeError(`no node ${node.id}`);
    return line;
  }

  #plan(node: SimNode, atMs: number): void {
    const line = this.#line(node);
    if (line.plannedMs <= atMs) return;
    line.plan += 1;
    line.plannedMs = atMs;
    this.#calendar.put(atMs, HAPPENS.announce, node.id, line.plan);
  }
}
