const MIB = 1024 * 1024;

/** Most parts of one upload (S3). */
export const PARTS_MAX = 10_000;
/** Memory of all parts being filled or sent, bytes; an upload beyond it waits for its turn. */
export const PART_BUFFERS_BYTES = 128 * MIB;
/** Uploads that wait for a buffer; more are refused. */
export const PART_BUFFERS_QUEUED_MAX = 4_096;
/** How long an upload waits for a buffer. */
export const PART_BUFFER_WAIT_MS = 60_000;
/** How long a connection to the storage may take to open. */
export const S3_CONNECT_MS = 5_000;
/** How long the storage may be silent in the midst of an answer or a body. */
export const S3_SILENCE_MS = 20_000;
/** How long one call may take, with its repetitions, when it carries few bytes. */
export const S3_CALL_MS = 30_000;
/** How long a call may take that sends a part or ends an upload. */
export const S3_PART_MS = 5 * 60_000;
/** How often a call is tried while the storage fails or is silent. */
export const S3_ATTEMPTS = 3;
/** Connections to the storage at the same time. */
export const S3_CONNECTIONS_MAX = 256;
/** How long the address of a redirect is good for, seconds. */
export const S3_REDIRECT_S = 15 * 60;
/** Bytes asked for by the first of reads in order; each further one asks for twice as much. */
export const READ_WINDOW_BYTES = MIB;
/** Objects that nothing owns removed in one turn. */
export const LOOSE_BATCH = 100;
/** Largest object that S3 copies in one call, bytes. */
export const COPY_MAX_BYTES = 5 * 1024 * MIB;
