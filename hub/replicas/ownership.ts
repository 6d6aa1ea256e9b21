import type { Digest } from '../../proto/oci/digest.ts';
import type { Incarnation } from '../../proto/trust/replica-call.ts';
import { FORMER_VIEWS_MAX, LAPSE_MS } from './constants.ts';
import { ownerAmong, standingOf, type Standing } from './rendezvous.ts';
import type { ReplicaRow, ReplicaSnapshot } from './store.ts';

export type Replica = ReplicaRow & Standing;

/** The replicas of one epoch. */
export type View = { readonly epoch: number; readonly replicas: readonly Replica[] };

/**
 * What this replica may do with a digest now. `owner`: answers for it, and `leases` when nobody
 * else can have leased chunks of it that are still on their way. `other`: that one is its owner.
 * `nobody`: the owner is not sure yet that it is, or this replica does not know who that is.
 */
export type Part =
  | { kind: 'owner'; leases: boolean }
  | { kind: 'other'; replica: Replica }
  | { kind: 'nobody' };

/** A view by which others may have owned what is ours now, and until when that counts. */
type Former = { view: View | undefined; untilMs: number };

const NOBODY: Part = { kind: 'nobody' };

/** Milliseconds since any moment. Of one machine only: clocks of two are never compared. */
export type Clocks = {
  /** Never runs slower than time does, not even over a sleep of the machine. */
  fast: () => number;
  /** Never runs faster. */
  steady: () => number;
};

/**
 * Which digests this replica owns. Without I/O.
 *
 * At no moment do two replicas own one digest. The catalog says which replicas there are in which
 * epoch, and a replica acts by the newest view it has seen. One that comes in owns nothing before
 * all replicas of one view have told that they act by that: they have given it what is its own. One
 * that is taken out owns nothing any more: its last heartbeat began LAPSE_MS ago by then, which it
 * sees itself, and nobody takes it out before TAKEOVER_MS. Between those that stay no digest moves.
 * What a replica did not own before it leases only when leases of the former owner are over.
 */
export class Ownership {
  readonly #leaseMs: number;
  readonly #clocks: Clocks;
  #self: Incarnation | undefined;
  #view: View | undefined;
  /** All replicas acted by one view since this one came in. */
  #settled = false;
  #former: Former[] = [];
  #aliveMs = Number.NEGATIVE_INFINITY;

  /** `leaseMs`: how long a lease lives. */
  constructor(options: { leaseMs: number; clocks: Clocks }) {
    this.#leaseMs = options.leaseMs;
    this.#clocks = options.clocks;
  }

  get self(): Incarnation | undefined {
    return this.#self;
  }

  get view(): View | undefined {
    return this.#view;
  }

  /** Epoch of the view that this replica acts by; 0 before the first. */
  get seen(): number {
    return this.#view?.epoch ?? 0;
  }

  /** Whether its heartbeats are recent enough to own anything. */
  get isAlive(): boolean {
    return this.#self !== undefined && this.#clocks.fast() - this.#aliveMs < LAPSE_MS;
  }

  /** Whether it owns anything. */
  get isOwner(): boolean {
    return this.#settled && this.isAlive;
  }

  /** This replica came in, at first or again. It owns nothing yet. */
  joined(self: Incarnation): void {
    this.stop();
    this.#self = self;
  }

  /** This replica owns nothing from now on, until it has joined again. */
  stop(): void {
    this.#self = undefined;
    this.#view = undefined;
    this.#settled = false;
    this.#former = [];
    this.#aliveMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * Takes in what a heartbeat brought that began at `beganMs` of the fast clock. False when this
   * replica is not in any more, or the catalog is an older one than before: it has stopped then,
   * and has to join again.
   */
  took(snapshot: ReplicaSnapshot, beganMs: number): boolean {
    const self = this.#self;
    if (self === undefined) return false;
    const { epoch, replicas } = snapshot;
    const isIn = replicas.some(({ id, joined }) => id === self.id && joined === self.joined);
    if (!isIn || epoch < this.seen) {
      this.stop();
      return false;
    }
    this.#aliveMs = Math.max(this.#aliveMs, beganMs);
    if (epoch > this.seen) this.#adopt(snapshot);
    if (!this.#settled && replicas.every(({ seen }) => seen === epoch)) this.#settle();
    return true;
  }

  partIn(digest: Digest): Part {
    const [self, view] = [this.#self, this.#view];
    if (view === undefined || self === undefined) return NOBODY;
    const owner = ownerAmong(view.replicas, digest);
    if (owner === undefined) return NOBODY;
    if (owner.id !== self.id) return { kind: 'other', replica: owner };
    if (!this.isOwner) return NOBODY;
    const nowMs = this.#clocks.steady();
    const others = this.#former.filter(({ untilMs }) => nowMs < untilMs);
    return { kind: 'owner', leases: others.every((former) => owns(former.view, self, digest)) };
  }

  #adopt({ epoch, replicas }: ReplicaSnapshot): void {
    // Before it came in, others owned everything.
    const untilMs = this.#settled ? this.#leasesEndMs() : Number.POSITIVE_INFINITY;
    this.#former = this.#former.filter((former) => this.#clocks.steady() < former.untilMs);
    this.#former.push({ view: this.#view, untilMs });
    if (this.#former.length > FORMER_VIEWS_MAX) this.#former = [{ view: undefined, untilMs }];
    const standing = replicas.map((row) => ({ ...row, ...standingOf(row.id) }));
    this.#view = { epoch, replicas: standing };
  }

  #settle(): void {
    this.#settled = true;
    const untilMs = this.#leasesEndMs();
    this.#former = this.#former.map(({ view }) => ({ view, untilMs }));
  }

  /** When all leases are over of whoever gives none any more. */
  #leasesEndMs(): number {
    return this.#clocks.steady() + this.#leaseMs;
  }
}

function owns(view: View | undefined, self: Incarnation, digest: Digest): boolean {
  return view !== undefined && ownerAmong(view.replicas, digest)?.id === self.id;
}
