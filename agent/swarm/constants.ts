import { HELLO_TIMEOUT_MS } from '../../proto/swarm/constants.ts';
import { LANE_HEAD_BYTES } from '../../proto/swarm/lane.ts';

/** One write to a stream, and with it the largest yamux frame we send. */
export const WRITE_SLICE_BYTES = 256 * 1024;
/**
 * The largest yamux frame taken from a peer. The muxer keeps a frame until it is whole, so this is
 * what a connection can make us hold per half-received frame.
 */
export const MUXER_FRAME_MAX_BYTES = 1024 * 1024;
/** yamux grows a stream's window up to this. */
export const STREAM_WINDOW_MAX_BYTES = 4 * 1024 * 1024;
/** Must exceed the window, or a paused stream is reset by its own buffer limit. */
export const STREAM_READ_BUFFER_MAX_BYTES = STREAM_WINDOW_MAX_BYTES + MUXER_FRAME_MAX_BYTES;
/** Control frames queued to a peer that reads nothing; beyond it the connection is cut. */
export const CONNECTION_WRITE_BUFFER_MAX_BYTES = 8 * 1024 * 1024;
/** All bytes a connection may send before its hello was accepted. */
export const PRE_HELLO_MAX_BYTES = 64 * 1024;
/** Inbound streams of one connection over all protocols, negotiated or not. */
export const STREAMS_PER_CONNECTION_MAX = 16;
/** Connections whose hello has not passed, both directions. */
export const UNADMITTED_CONNECTIONS_MAX = 32;
/** Connections of one peer, both directions; two agents may dial each other at once. */
export const CONNECTIONS_PER_PEER_MAX = 4;
/** From the end of the handshake to an accepted hello, after which the connection is cut. */
export const ADMISSION_TIMEOUT_MS = HELLO_TIMEOUT_MS + 1_000;
/** Encryption and muxer of an inbound connection. */
export const INBOUND_UPGRADE_TIMEOUT_MS = 5_000;
/** Connections in the middle of their handshake. */
export const INBOUND_PENDING_MAX = 64;
/** New connections per second and remote address. */
export const INBOUND_RATE_PER_HOST = 50;
/** Agreement on a protocol for a new stream. */
export const PROTOCOL_NEGOTIATION_TIMEOUT_MS = 3_000;
/** One address of a peer. */
export const ADDRESS_DIAL_TIMEOUT_MS = 3_000;
/** All addresses of a peer, the hello and the first stream. */
export const LINK_TIMEOUT_MS = 10_000;
/** Orderly close of a connection, after which it is destroyed. */
export const CLOSE_TIMEOUT_MS = 1_000;
/** Bytes per second of the slowest transfer that counts as one that moves. */
export const TRANSFER_RATE_MIN = 8 * 1024;
/**
 * A peer that accepts no byte of a response for this long loses the stream. To it comes the
 * time that what was written takes at TRANSFER_RATE_MIN: the system tells of it as a whole.
 */
export const WRITE_STALL_TIMEOUT_MS = 15_000;
/** No answer to a control request. */
export const REQUEST_TIMEOUT_MS = 5_000;
/** Added to the time a `have` may wait at the peer. */
export const HAVE_GRACE_MS = 4_000;
/** No byte of an expected body for this long, from the request on. */
export const BODY_STALL_TIMEOUT_MS = 6_000;
/** A body as a whole, and the time its bytes take at TRANSFER_RATE_MIN. */
export const BODY_TIMEOUT_MS = 60_000;
/** A stream without a request for this long is closed by the server. */
export const STREAM_IDLE_TIMEOUT_MS = 10 * 60_000;
/** Requests parsed but not started on one stream, over the ones in flight. */
export const PENDING_REQUESTS_MAX = 32;
/**
 * A large buffer of an upload: what is read from the disk and written to a lane at a time, with the
 * head of the answer. The next one is read while it is on its way, so a body takes up to two.
 */
export const UPLOAD_BUFFER_BYTES = LANE_HEAD_BYTES + 1024 * 1024;
/** Large buffers out at a time; further uploads get small ones. */
export const UPLOAD_LARGE_BUFFERS_MAX = 12;
/** A small buffer of an upload, and all that a stream asks for. */
export const UPLOAD_SMALL_BUFFER_BYTES = 256 * 1024;
/** Chunk and blob bodies being sent to one peer at a time; the next ones wait their turn. */
export const UPLOADS_PER_PEER_MAX = 8;
/** Requests waiting for an upload slot over all peers; beyond it the answer is BUSY. */
export const UPLOAD_QUEUE_MAX = 128;
/** A request that got no upload slot within this time is answered BUSY. */
export const UPLOAD_QUEUE_TIMEOUT_MS = 2_000;
/**
 * Blobs of at most 4 MiB in memory for peers, from the reading to the last byte sent: over all
 * peers, and for one.
 */
export const SMALL_BODIES_MAX = 16;
export const SMALL_BODIES_PER_PEER_MAX = 4;
/** Bulk streams a client opens to one peer beside the control stream. */
export const BULK_STREAMS_MAX = 2;
/** Chunk requests on one bulk stream before the next one is opened. */
export const BULK_STREAM_TARGET_INFLIGHT = 4;
/** Open grants kept per peer; the oldest is forgotten first. */
export const GRANTS_PER_PEER_MAX = 64;
/** Digests in the open grants of one peer; the oldest grants are forgotten first. */
export const GRANT_DIGESTS_PER_PEER_MAX = 50_000;
/** Refused grants from one peer within a minute before it is banned. */
export const REFUSED_GRANTS_MAX = 60;
export const REFUSED_GRANTS_WINDOW_MS = 60_000;
/** Certificates in one answer to `GetPeers`. */
export const PEER_EXCHANGE_MAX = 30;
/** First ban of a peer; each further one lasts twice as long. */
export const BAN_BASE_MS = 60_000;
export const BAN_MAX_MS = 6 * 60 * 60_000;
/** A peer without a new offence for this long starts at the first ban again. */
export const BAN_MEMORY_MS = 24 * 60 * 60_000;
/** Peers whose offences are remembered; the oldest is forgotten first. */
export const BANS_MAX = 4_096;
/** Requests to one peer that wait for one of the streams' slots; beyond it they fail as BUSY. */
export const CLIENT_REQUESTS_QUEUED_MAX = 256;
/** A waiting `have` is answered this long after the first change. */
export const HAVE_SETTLE_MS = 20;
/** A link that asked nothing for this long is closed, and its connection when nothing uses it. */
export const LINK_IDLE_MS = 5 * 60_000;
/** However much is asked on lanes, a question goes over libp2p at least this often. */
export const LINK_PROOF_MS = 60_000;
/** Time between two searches for such links. */
export const LINK_SWEEP_MS = 60_000;
