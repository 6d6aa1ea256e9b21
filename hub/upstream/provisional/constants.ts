/** How long a question for leaves waits for news before it is answered without any. */
export const PROVISIONAL_WAIT_MS = 3_000;
/** Questions for leaves that wait at the same time; more are told to come back. */
export const PROVISIONAL_WAITERS_MAX = 2_048;
/** Blobs whose leaves are followed at the same time; of more nothing provisional is told. */
export const PROVISIONAL_SESSIONS_MAX = 1_024;
/** How long the end of a session is told to those who ask for it. */
export const PROVISIONAL_ENDED_MS = 60_000;
/** Leaves that come within this time are told together; longer the more members wait. */
export const PROVISIONAL_GATHER_MS = 20;
export const PROVISIONAL_GATHER_MAX_MS = 1_000;
/** Answers per second that the leaves of one blob may cause, about. */
export const PROVISIONAL_ANSWERS_PER_SECOND = 500;
/** Bytes of signed batches that are kept for the next who asks for the same. */
export const PROVISIONAL_BATCHES_MAX_BYTES = 8 * 1024 * 1024;
