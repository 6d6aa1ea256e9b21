/** Rows of the catalog that the check holds at a time. */
export const CHECK_BATCH = 500;
/** Bytes of a blob that the check holds while it hashes. */
export const CHECK_BUFFER_BYTES = 1024 * 1024;
/** Problems that a report of the check lists; more are only counted. */
export const CHECK_PROBLEMS_MAX = 10_000;
/** Blobs whose bytes the check asks the store for at the same time. */
export const CHECK_ASKS = 16;
