/** Application protocol of the lane (RFC 7301); another version gets another name. */
export const LANE_ALPN = 'flotilla-lane/1';
/** Life of a lane certificate; a new one is made when half of it is over. */
export const LANE_CERTIFICATE_LIFE_MS = 7 * 24 * 3_600_000;
/** Largest certificate that is looked at. */
export const LANE_CERTIFICATE_MAX_BYTES = 8 * 1024;
/** Lane sockets that other agents may have open here. */
export const LANE_SOCKETS_MAX = 512;
/** Lane sockets one peer may have open here, and that we open to one peer. */
export const LANE_SOCKETS_PER_PEER_MAX = 4;
export const LANE_SOCKETS_OPENED = 2;
/** Connections to the lane in the middle of their handshake: of one address, and of all. */
export const LANE_GREETINGS_PER_ADDRESS_MAX = 16;
export const LANE_GREETINGS_MAX = 128;
/** From the accepted connection to the end of the TLS handshake. */
export const LANE_HANDSHAKE_TIMEOUT_MS = 8_000;
/** To connect to one address of a peer. */
export const LANE_CONNECT_TIMEOUT_MS = 3_000;
/** The handshake included, which takes seconds where many nodes begin at once. */
export const LANE_DIAL_TIMEOUT_MS = 8_000;
/** Between two lanes to one peer that are dialled, at least. */
export const LANE_DIAL_PAUSE_MS = 1_000;
/**
 * Streams are used for this long after a lane could not be opened, or ended before it answered:
 * twice as long each time.
 */
export const LANE_RETRY_MIN_MS = 10_000;
export const LANE_RETRY_MAX_MS = 5 * 60_000;
/** Failed lanes that are remembered. */
export const LANE_FAILURES_MAX = 4_096;
/** A lane nobody asked anything on for this long is closed. */
export const LANE_IDLE_MS = 2 * 60_000;
/** After this silence of a lane with open requests, its peer is asked over libp2p if it lives. */
export const LANE_DOUBT_MS = 1_500;
/** A peer that answers neither there within this, nor on the lane, is given up. */
export const LANE_PROBE_MS = 1_500;
/** Requests unanswered on one lane socket. */
export const LANE_PIPELINE_MAX = 8;
/** Questions about what the other side holds that wait on one lane socket. */
export const LANE_QUESTIONS_MAX = 32;
/** Such a question goes behind a chunk only on a lane whose chunks take no longer. */
export const LANE_NEWS_TURN_MS = 2_000;
/** Largest request frame on a lane. */
export const LANE_REQUEST_MAX_BYTES = 256;
/** Reads between two chunks land in a buffer of this size. */
export const LANE_SCRATCH_BYTES = 64 * 1024;
/**
 * Bytes of chunk buffers in use and kept for the next chunks: with so many in use, which
 * `fetch.chunkMemory` bounds, none is kept.
 */
export const CHUNK_BUFFERS_BYTES = 64 * 1024 * 1024;
