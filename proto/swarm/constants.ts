import { CHUNKS_MAX } from '../chunks/layout.ts';
import { GRANT_DIGESTS_MAX } from '../trust/grant.ts';

/** The only protocol that a peer may open before it is admitted: one message each way. */
export const HELLO_PROTOCOL = '/flotilla/hello/1';
/** Requests and responses between admitted peers. */
export const EXCHANGE_PROTOCOL = '/flotilla/exchange/1';
/** Versions of the exchange messages that this build speaks. */
export const SWARM_VERSION_MIN = 1;
export const SWARM_VERSION_MAX = 4;
/** The first version whose peers may be asked for tag statements; an earlier one bans for it. */
export const TAG_VERSION_MIN = 2;
/** The first version whose peers may be asked on a lane what they hold; likewise. */
export const LANE_HAVE_VERSION_MIN = 3;
/** The first version whose peers tell content of different sessions apart. */
export const SESSION_VERSION_MIN = 4;

/** Largest hello message in bytes. */
export const HELLO_MAX_BYTES = 8192;
/** A hello that takes longer closes the connection. */
export const HELLO_TIMEOUT_MS = 2000;
/** Largest request or response frame in bytes; bodies follow a response outside of frames. */
export const FRAME_MAX_BYTES = 1_048_576;
/** Bytes of slices that a FrameReader holds before it refuses more. */
export const FRAME_BUFFER_MAX_BYTES = 8 * 1_048_576;
/** Requests of one peer that may be unanswered at a time. */
export const INFLIGHT_REQUESTS_MAX = 16;
/** Exchange streams of one peer at a time. */
export const STREAMS_PER_PEER_MAX = 8;
/** Longest time in ms that a Have request may be held back for news. */
export const HAVE_WAIT_MAX_MS = 1000;
/** Most memberships in an answer to GetPeers. */
export const PEERS_MAX = 32;
/** Largest body after a response: a row of chunk hashes or a small blob is less than a chunk. */
export const SMALL_BODY_MAX_BYTES = 4 * 1_048_576;
/** Largest bitmap in bytes. */
export const BITMAP_MAX_BYTES = CHUNKS_MAX / 8;
/** Most digests in OpenGrant and in GrantInfo. */
export const FRAME_DIGESTS_MAX = GRANT_DIGESTS_MAX;
/** Longest `build` text in a hello, in characters. */
export const BUILD_MAX_CHARS = 64;
