import type { Digest } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import type { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { Membership } from '../../proto/trust/membership.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';

/** Last argument of every call that waits. */
export type CallOptions = { signal?: AbortSignal | undefined };

/** A call for a runtime that showed this Authorization header, if it showed any. */
export type ShownOptions = CallOptions & { authorization?: string | undefined };

/** What a peer reports to hold of one blob. `bitmap` counts `chunkCount` chunks. */
export type PeerAvailability = {
  size: number;
  chunkCount: number;
  bitmap: ChunkBitmap;
  complete: boolean;
};

/** One admitted peer: control requests over libp2p. Calls reject when the link is closed. */
export interface PeerLink {
  readonly peerId: string;
  /** Node name out of the membership, for logs. */
  readonly node: string;
  readonly closed: boolean;
  /** False: the peer refused the grant. */
  openGrant(bundle: GrantBundle, o: CallOptions): Promise<boolean>;
  /**
   * Answers at once when the peer's count differs from `known.count`, else after `waitMs`. With a
   * session it tells what the peer checked against leaves of that session, else what a statement
   * covers.
   */
  have(
    digest: Digest,
    known: { count: number; waitMs: number; session?: Buffer | undefined },
    o: CallOptions,
  ): Promise<PeerAvailability | undefined>;
  hashes(digest: Digest, maxBytes: number, o: CallOptions): Promise<Buffer | undefined>;
  statement(digest: Digest, o: CallOptions): Promise<Buffer | undefined>;
  /** Unverified bytes of a blob of at most 4 MiB. */
  blob(digest: Digest, o: CallOptions): Promise<Buffer | undefined>;
  /** A public grant the peer holds for this manifest or blob. */
  grant(
    namespace: string,
    repository: string,
    digest: Digest,
    o: CallOptions,
  ): Promise<GrantBundle | undefined>;
  /** Unverified tag statement; undefined too when the peer is too old to have any. */
  tag(name: TagName, o: CallOptions): Promise<Buffer | undefined>;
}

/** Bytes in a buffer that is used again after it was disposed of. */
export interface ChunkBytes extends Disposable {
  readonly bytes: Buffer;
  /** Instead of disposing: nobody gets the buffer again. Absent when nobody would anyway. */
  discard?(): void;
}

/** `session`: as in `PeerLink.have`. */
export type ChunkRequest = {
  digest: Digest;
  index: number;
  length: number;
  session?: Buffer | undefined;
};

/** How chunk bytes travel. Exactly `length` unverified bytes, or a rejection. */
export interface ChunkTransport {
  readonly name: string;
  fetchChunk(peerId: string, request: ChunkRequest, o: CallOptions): Promise<ChunkBytes>;
}

/** Proofs of misbehaviour that end our relation with a peer. */
export type BanReason =
  | 'chunk-mismatch'
  | 'blob-mismatch'
  | 'hashes-mismatch'
  | 'statement-invalid'
  | 'grant-invalid'
  | 'tag-invalid'
  | 'protocol-violation';

export interface Swarm {
  /** Our own peer id. */
  readonly peerId: string;
  /** Our own zone; empty when the hub knows none. */
  readonly zone: string;
  /** Verified memberships of the others, banned and revoked ones left out. */
  members(): readonly Membership[];
  /** Connects or returns the open link. */
  link(member: Membership, o: CallOptions): Promise<PeerLink>;
  readonly transport: ChunkTransport;
  ban(peerId: string, reason: BanReason, detail: object): void;
  isBanned(peerId: string): boolean;
}

export type AnnounceItem = {
  namespace: string;
  repository: string;
  digest: Digest;
  size: number;
  complete: boolean;
  have: ChunkBitmap;
  /** How many chunk leases from the hub we could use now. */
  hubChunksWanted: number;
  /** What we read the repository with, when not everybody may. */
  token?: string | undefined;
  /** How many chunks we would take from the source without a lease; 0 if left out. */
  bypassWanted?: number;
  /** Chunks we would fetch from other zones, in the order of our wishes; none if left out. */
  crossingsWanted?: readonly number[];
};

export type AnnounceResult = {
  digest: Digest;
  /** Memberships the client has verified already; ourselves and banned peers left out. */
  peers: Membership[];
  /** Chunk indices leased to us. */
  hubChunks: number[];
  /** How many chunks we may take without a lease; undefined: the hub keeps no budget. */
  bypassChunks?: number | undefined;
  /**
   * Those of the chunks we would fetch from other zones that we may fetch now; undefined: the hub
   * does not know who fetches what.
   */
  crossings?: number[] | undefined;
  retryAfterMs: number;
};

/** The hub's fleet API. */
export interface FleetClient {
  /** `full`: the items are all we have, so that the tracker may forget the rest. */
  announce(
    items: AnnounceItem[],
    o: CallOptions & { full?: boolean | undefined },
  ): Promise<AnnounceResult[]>;
  /** Rejects when the hub cannot be asked. */
  requestGrant(
    namespace: string,
    repository: string,
    digest: Digest,
    o: ShownOptions,
  ): Promise<GrantBundle | 'not-found'>;
  /** Whether the last call to the hub worked. */
  readonly online: boolean;
  readonly trust: TrustStore;
  readonly fleetId: string;
}

/** Bytes of one connection from `start` to the end of the blob. */
export type SourceStream = { size: number; body: AsyncIterable<Buffer> };

/**
 * The hub, or a configured upstream, as a source of bytes. undefined means "not there" (404);
 * anything else that prevents an answer is a rejection.
 */
export interface HubSource {
  readonly kind: 'hub' | 'upstream';
  head(
    repository: Repository,
    digest: Digest,
    o: CallOptions,
  ): Promise<{ size: number } | undefined>;
  /** Unverified signed statement. An upstream has none. */
  statement(repository: Repository, digest: Digest, o: CallOptions): Promise<Buffer | undefined>;
  /** Unverified packed chunk hashes, at most `maxBytes`. */
  hashes(
    repository: Repository,
    digest: Digest,
    maxBytes: number,
    o: CallOptions,
  ): Promise<Buffer | undefined>;
  /**
   * A signed batch of the leaves from `from` on of a blob that the hub still fetches, unverified;
   * without `from` that of the first leaf, at once. See proto/chunks/provisional.ts.
   */
  provisional?(
    repository: Repository,
    digest: Digest,
    from: number | undefined,
    o: CallOptions,
  ): Promise<Buffer | undefined>;
  /** The blob will probably be asked for in a moment; the hub may begin to fetch it. */
  ahead?(repository: Repository, digest: Digest, o: CallOptions): Promise<void>;
  /**
   * Exactly the bytes of the range, unverified, to be disposed of by the caller. `provisional`: of
   * a blob that the hub may still be fetching. `seen` is called with each piece of them in order.
   */
  chunk(
    repository: Repository,
    digest: Digest,
    range: { start: number; end: number },
    o: CallOptions & { provisional?: boolean; seen?: ((piece: Buffer) => void) | undefined },
  ): Promise<ChunkBytes>;
  stream(
    repository: Repository,
    digest: Digest,
    start: number,
    o: CallOptions,
  ): Promise<SourceStream | undefined>;
  /** A blob or manifest of at most 4 MiB whose digest was checked. */
  small(
    repository: Repository,
    digest: Digest,
    kind: 'manifest' | 'blob',
    o: CallOptions,
  ): Promise<Buffer | undefined>;
}

/** Where bytes of a file can go without coming through memory: the connection of a client. */
export interface FileSink {
  /**
   * Takes up to `length` bytes from `position` of an open file, in order with what else goes there.
   * Returns how many; 0: none now, before a buffer went there; undefined: none ever.
   */
  take(file: number, position: number, length: number): Promise<number | undefined>;
}

export type ReadOptions = CallOptions & { sink?: FileSink | undefined };

/** A blob being read; disposing ends the interest of this reader, not the download. */
export interface BlobHandle extends Disposable {
  /** Bytes of the whole blob. */
  readonly size: number;
  /**
   * Streams the half-open byte range, waiting for verified bytes. A buffer is valid until the next
   * iteration. Throws FetchError STALLED after READER_STALL_MS without a byte, BROKEN when the
   * source is gone. With a sink, verified bytes may go there instead of coming out, when all that
   * came out went there: then comes an empty buffer.
   */
  read(range: { start: number; end: number }, o: ReadOptions): AsyncIterable<Buffer>;
}

/** The client behind a request, for the log. */
export type Client = { address?: string | undefined; userAgent?: string | undefined };

export type OpenRequest = {
  /** HUB_NAMESPACE or the canonical host of an upstream. */
  namespace: string;
  repository: Repository;
  digest: Digest;
  /**
   * Shown to peers; without one no peer is asked. The caller has checked the right to the blob,
   * whichever way.
   */
  grant: GrantBundle | undefined;
  client?: Client | undefined;
  /**
   * Bytes of the blob, as the registry says, when nothing else says that it is there: then it may
   * come from that registry alone, and not out of what is held of others.
   */
  claimedSize?: number | undefined;
};
