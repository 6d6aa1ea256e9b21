import { layoutOf, UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import type {
  AnnounceAnswer,
  AnnouncedDownload,
  AnnounceRequest,
  AnnounceResponse,
} from '../../proto/hubapi/schemas.ts';
import { parseDigest, type Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { HUB_NAMESPACE } from '../../proto/trust/grant.ts';
import { chunksHere, type BlobSizes, type ComingBlobs } from './blob-sizes.ts';
import { FleetError } from './errors.ts';
import type { PrivateRights } from './grants.ts';
import type { MemberRecord, MemberTable } from './member-table.ts';
import type { FleetMetrics } from './metrics.ts';
import type { AnnouncedBlob, TrackerDesk } from './tracker.ts';

type AnnouncementModules = {
  tracker: TrackerDesk;
  table: MemberTable;
  sizes: Pick<BlobSizes, 'sizeIn'>;
  coming?: ComingBlobs | undefined;
  isPublic: (repository: string) => boolean | Promise<boolean>;
  privateRights: Pick<PrivateRights, 'mayRead'>;
  metrics: Pick<FleetMetrics, 'leases' | 'bypasses' | 'trackerSeconds'>;
};

function bitmapOf(download: AnnouncedDownload, size: number): ChunkBitmap | undefined {
  if (download.complete) return undefined;
  const { chunkCount } = layoutOf(size);
  if (download.have === '') return new ChunkBitmap(chunkCount);
  try {
    return ChunkBitmap.fromBytes(Buffer.from(download.have, 'base64'), chunkCount);
  } catch (cause) {
    if (!hasCode(cause, 'BAD_BITMAP')) throw cause;
    throw new FleetError('INVALID_BODY', `the bitmap of ${download.digest} is of another size`, {
      cause,
    });
  }
}

/** Checks announcements against what the hub knows and lets the tracker answer them. */
export class Announcements {
  readonly #now: () => number;
  readonly #modules: AnnouncementModules;

  constructor(options: { now: () => number }, modules: AnnouncementModules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  /**
   * Answers a member. Blobs that it may not know about, that are not in the repository it names,
   * or whose size is not the one the hub hashed, get an empty answer, each the same.
   * @throws FleetError INVALID_BODY for a bitmap that does not fit; REVOKED, NOT_A_MEMBER
   */
  async answer(member: MemberRecord, body: AnnounceRequest): Promise<AnnounceResponse> {
    const { tracker, table, metrics } = this.#modules;
    const stop = metrics.trackerSeconds.startTimer();
    const blobs = await Promise.all(body.downloads.map((download) => this.#blobOf(download)));
    const known = blobs.filter((blob) => blob !== undefined);
    const { peerId, zone } = member;
    const announcement = { peerId, zone, full: body.full, blobs: known };
    const nowMs = this.#now();
    // Whoever was revoked meanwhile is forgotten by the tracker already, and is to stay so.
    table.require(peerId, { nowMs });
    const answer = await tracker.announce(announcement, nowMs);
    const answers = new Map(answer.blobs.map((blob) => [blob.digest as string, blob]));
    const downloads = body.downloads.map(({ digest }): AnnounceAnswer => {
      const found = answers.get(digest);
      if (found === undefined) {
        const nothing = { peers: [], hubChunks: [], bypassChunks: 0 };
        return { digest, ...nothing, retryAfterMs: answer.intervalMs };
      }
      metrics.leases.inc(found.hubChunks.length);
      metrics.bypasses.inc(found.bypassChunks);
      return { ...found, peers: this.#certificatesOf(found.peers, answer.certificates) };
    });
    stop();
    return { intervalMs: answer.intervalMs, downloads };
  }

  async #blobOf(download: AnnouncedDownload): Promise<AnnouncedBlob | undefined> {
    const { namespace, size, bypassWanted = 0, crossingsWanted = [] } = download;
    const digest = parseDigest(download.digest);
    const leasable = namespace === HUB_NAMESPACE;
    if (leasable && !(await this.#isThere(download, digest))) return undefined;
    const isChunked = size > UNCHUNKED_MAX_BYTES;
    const hubChunksWanted = leasable && isChunked ? download.hubChunksWanted : 0;
    const have = bitmapOf(download, size);
    const wishes = { hubChunksWanted, bypassWanted, crossingsWanted };
    const blob = { digest, size, have, leasable, ...wishes };
    if (!leasable || !isChunked) return blob;
    const { repository } = download;
    return { ...blob, repository, ready: chunksHere(this.#modules.coming, repository, digest) };
  }

  /** Whether the member may read the repository, and finds the blob there. */
  async #isThere({ repository, size, token }: AnnouncedDownload, digest: Digest): Promise<boolean> {
    const { sizes, isPublic, privateRights } = this.#modules;
    if (!(await isPublic(repository))) {
      if (token === undefined || !(await privateRights.mayRead(token, repository))) return false;
    }
    return (await sizes.sizeIn(repository, digest)) === size;
  }

  /** What this hub knows of a member counts; of others, what the hub says that knows them. */
  #certificatesOf(peerIds: readonly string[], others?: ReadonlyMap<string, string>): string[] {
    const nowMs = this.#now();
    const { table } = this.#modules;
    return peerIds.flatMap((peerId) => {
      if (table.has(peerId)) return table.current(peerId, nowMs)?.text ?? [];
      return others?.get(peerId) ?? [];
    });
  }
}
