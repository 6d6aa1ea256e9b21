import { deadline } from '../../proto/std/abort.ts';
import type { Incarnation } from '../../proto/trust/replica-call.ts';
import { ANNOUNCE_IDLE_MS } from '../fleet/constants.ts';
import type {
  AnnouncedBlob,
  Announcement,
  BlobAnswer,
  DeskAnswer,
  Tracker,
  TrackerDesk,
} from '../fleet/tracker.ts';
import { AWAY_RETRY_MS, FORWARD_TIMEOUT_MS } from './constants.ts';
import { ForwardError } from './errors.ts';
import { answeredOf, forwardedOf, type ForwardResponse } from './forward-body.ts';
import type { Forwarder } from './forwarder.ts';
import type { ReplicaMetrics } from './metrics.ts';
import type { Ownership, Replica } from './ownership.ts';

type DeskModules = {
  ownership: Ownership;
  tracker: Pick<Tracker, 'announce' | 'standIn'>;
  forwarder: Pick<Forwarder, 'ask'>;
  /** Looks at the replicas anew. */
  refresh: (options: { signal: AbortSignal }) => Promise<void>;
  /** Text of the certificate of a member. */
  certificateOf: (peerId: string) => string | undefined;
  metrics: Pick<ReplicaMetrics, 'unowned'>;
};

/** What of an announcement is for whom. */
type Split = {
  own: AnnouncedBlob[];
  others: Map<string, { replica: Replica; blobs: AnnouncedBlob[] }>;
  unowned: AnnouncedBlob[];
};

/** What came of asking others, so far. */
type Gathered = {
  answers: BlobAnswer[];
  certificates: Map<string, string>;
  intervals: number[];
  /** To be asked about once more, after a look at the replicas. */
  refused: AnnouncedBlob[];
  /** Nobody can answer for these now. */
  unowned: AnnouncedBlob[];
};

/**
 * Answers announcements that this hub gets, each blob by its owner. A hub that cannot be asked
 * costs an agent the leases of its blobs for a while, never its pull: the agent hears of no peers
 * it does not know, and may take a little from the hubs.
 */
export class ReplicaDesk implements TrackerDesk {
  readonly #timeoutMs: number;
  readonly #modules: DeskModules;

  constructor(options: { timeoutMs?: number }, modules: DeskModules) {
    this.#timeoutMs = options.timeoutMs ?? FORWARD_TIMEOUT_MS;
    this.#modules = modules;
  }

  async announce(announcement: Announcement, nowMs: number): Promise<DeskAnswer> {
    const { ownership } = this.#modules;
    const gathered: Gathered = {
      answers: [],
      certificates: new Map(),
      intervals: [],
      refused: [],
      unowned: [],
    };
    const { self, view } = ownership;
    using limit = deadline(this.#timeoutMs);
    const split = this.#split(announcement.blobs);
    const others = view?.replicas.filter(({ id }) => id !== self?.id) ?? [];
    // What a full announcement does not list is to be forgotten by everybody.
    for (const replica of announcement.full ? others : []) othersOf(split, replica);
    await this.#gather(announcement, split, gathered, { nowMs, signal: limit.signal });
    if (gathered.refused.length > 0) {
      await this.#again(announcement, gathered, { nowMs, signal: limit.signal });
    }
    const standIns = this.#standIn(gathered.unowned, nowMs);
    const intervals = [...gathered.intervals, ...standIns.map((blob) => blob.retryAfterMs)];
    return {
      intervalMs: Math.min(ANNOUNCE_IDLE_MS, ...intervals),
      blobs: [...gathered.answers, ...standIns],
      certificates: gathered.certificates,
    };
  }

  /** Once more, by the view as it is now; what is refused again has no owner yet. */
  async #again(
    announcement: Announcement,
    gathered: Gathered,
    limit: { nowMs: number; signal: AbortSignal },
  ): Promise<void> {
    const { refused } = gathered;
    gathered.refused = [];
    try {
      await this.#modules.refresh(limit);
    } catch {
      gathered.unowned.push(...refused);
      return;
    }
    const split = this.#split(refused);
    // What else the member has was in the first part.
    await this.#gather({ ...announcement, full: false }, split, gathered, limit);
    gathered.unowned.push(...gathered.refused);
    this.#count('refused', gathered.refused.length);
    gathered.refused = [];
  }

  #split(blobs: readonly AnnouncedBlob[]): Split {
    const split: Split = { own: [], others: new Map(), unowned: [] };
    for (const blob of blobs) {
      const part = this.#modules.ownership.partIn(blob.digest);
      if (part.kind === 'other') othersOf(split, part.replica).push(blob);
      else if (part.kind === 'nobody') split.unowned.push(blob);
      else split.own.push(part.leases ? blob : { ...blob, hubChunksWanted: 0 });
    }
    return split;
  }

  async #gather(
    announcement: Announcement,
    split: Split,
    gathered: Gathered,
    limit: { nowMs: number; signal: AbortSignal },
  ): Promise<void> {
    const { ownership, tracker } = this.#modules;
    const { full } = announcement;
    gathered.unowned.push(...split.unowned);
    this.#count('no-owner', split.unowned.length);
    // Who owns nothing just now does not forget what it was told.
    if (split.own.length > 0 || (full && ownership.isOwner)) {
      const answer = tracker.announce({ ...announcement, blobs: split.own }, limit.nowMs);
      gathered.answers.push(...answer.blobs);
      gathered.intervals.push(answer.intervalMs);
    }
    const { self, seen } = ownership;
    await Promise.all(
      [...split.others.values()].map(async (part) => {
        const others = { announcement, self, epoch: seen };
        await this.#ask(part, others, gathered, limit.signal);
      }),
    );
  }

  async #ask(
    part: { replica: Replica; blobs: AnnouncedBlob[] },
    whole: { announcement: Announcement; self: Incarnation | undefined; epoch: number },
    gathered: Gathered,
    signal: AbortSignal,
  ): Promise<void> {
    const { replica, blobs } = part;
    const { peerId, zone, full } = whole.announcement;
    const certificate = this.#modules.certificateOf(peerId);
    if (whole.self === undefined || certificate === undefined) {
      gathered.unowned.push(...blobs);
      return;
    }
    const member = { peerId, zone, certificate };
    const request = { epoch: whole.epoch, member, full, blobs: blobs.map(forwardedOf) };
    try {
      const answer = await this.#modules.forwarder.ask(whole.self, replica, request, { signal });
      take(gathered, blobs, answer);
    } catch (err) {
      if (!(err instanceof ForwardError)) throw err;
      if (err.code === 'REFUSED') {
        gathered.refused.push(...blobs);
        return;
      }
      this.#count('owner-away', blobs.length);
      gathered.unowned.push(...blobs);
    }
  }

  #standIn(blobs: readonly AnnouncedBlob[], nowMs: number): BlobAnswer[] {
    return blobs.map((blob) => ({
      digest: blob.digest,
      peers: [],
      hubChunks: [],
      bypassChunks: this.#modules.tracker.standIn(blob, nowMs),
      retryAfterMs: AWAY_RETRY_MS,
    }));
  }

  #count(reason: 'no-owner' | 'owner-away' | 'refused', blobs: number): void {
    this.#modules.metrics.unowned.inc({ reason }, blobs);
  }
}

function othersOf(split: Split, replica: Replica): AnnouncedBlob[] {
  const part = split.others.get(replica.id) ?? { replica, blobs: [] };
  split.others.set(replica.id, part);
  return part.blobs;
}

/** Takes in what another hub answered; only what it was asked about counts. */
function take(gathered: Gathered, asked: readonly AnnouncedBlob[], answer: ForwardResponse): void {
  const answers = new Map(answer.blobs.map((blob) => [blob.digest, blob]));
  gathered.intervals.push(answer.intervalMs);
  for (const [peerId, text] of Object.entries(answer.certificates)) {
    gathered.certificates.set(peerId, text);
  }
  for (const blob of asked) {
    const found = answers.get(blob.digest);
    if (found === undefined) gathered.refused.push(blob);
    else gathered.answers.push(answeredOf(found));
  }
}
