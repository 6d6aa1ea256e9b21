import { LRUCache } from 'lru-cache';
import { chunksHere } from '../fleet/blob-sizes.ts';
import { ANNOUNCE_IDLE_MS } from '../fleet/constants.ts';
import type { FleetPart } from '../fleet/fleet.ts';
import type { AnnouncedBlob, Tracker } from '../fleet/tracker.ts';
import { GUESTS_MAX } from './constants.ts';
import { announcedOf, type ForwardRequest, type ForwardResponse } from './forward-body.ts';
import type { Ownership } from './ownership.ts';

type ReceiverOptions = { now: () => number };

type ReceiverModules = {
  ownership: Ownership;
  tracker: Pick<Tracker, 'announce'>;
  /** Looks at the replicas anew. */
  refresh: () => Promise<void>;
  members: FleetPart['members'];
  /** Blobs on their way to this hub. */
  coming: FleetPart['coming'];
};

/** Answers what other hubs pass on, for the blobs that this one owns. */
export class Receiver {
  readonly #now: () => number;
  readonly #modules: ReceiverModules;
  /** Certificates of members that this hub does not know, by peer id. */
  readonly #guests = new LRUCache<string, string>({ max: GUESTS_MAX });

  constructor(options: ReceiverOptions, modules: ReceiverModules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  /** Throws ReplicaError INVALID_BODY for a bitmap that does not fit. */
  async answer(request: ForwardRequest): Promise<ForwardResponse> {
    const { ownership, tracker, members, refresh } = this.#modules;
    const { member, full } = request;
    const { peerId, zone } = member;
    const blobs = request.blobs.map(announcedOf);
    if (request.epoch > ownership.seen) await refresh();
    const own = blobs.flatMap((blob) => this.#ownPart(blob) ?? []);
    const owned = new Set(own.map(({ digest }) => digest));
    const refused = blobs.map(({ digest }) => digest).filter((digest) => !owned.has(digest));
    const epoch = ownership.seen;
    const nothing = { epoch, intervalMs: ANNOUNCE_IDLE_MS, blobs: [], certificates: {} };
    const isGone = members.knows(peerId) && members.certificateOf(peerId) === undefined;
    if (isGone || !ownership.isOwner) return { ...nothing, refused };
    if (!members.knows(peerId)) this.#guests.set(peerId, member.certificate);
    if (own.length === 0 && !full) return { ...nothing, refused };
    const answer = tracker.announce({ peerId, zone, full, blobs: own }, this.#now());
    const peers = answer.blobs.flatMap((blob) => blob.peers);
    return { epoch, ...answer, certificates: this.#certificatesOf(peers), refused };
  }

  #ownPart(blob: AnnouncedBlob): AnnouncedBlob | undefined {
    const { ownership, coming } = this.#modules;
    const { digest, repository } = blob;
    const part = ownership.partIn(digest);
    if (part.kind !== 'owner') return undefined;
    if (!part.leases) return { ...blob, hubChunksWanted: 0 };
    if (repository === undefined) return blob;
    // How much of it has come the owner knows, who fetches it.
    return { ...blob, ready: blob.ready ?? chunksHere(coming, repository, digest) };
  }

  #certificatesOf(peerIds: readonly string[]): Record<string, string> {
    const { members } = this.#modules;
    const found = new Map<string, string>();
    for (const peerId of peerIds) {
      const guest = members.knows(peerId) ? undefined : this.#guests.get(peerId);
      const text = members.certificateOf(peerId) ?? guest;
      if (text !== undefined) found.set(peerId, text);
    }
    return Object.fromEntries(found);
  }
}
