/** Longest line of the catalog in a backup: a manifest of 4 MiB in base64, with room. */
export const ROW_MAX_BYTES = 16 * 1024 * 1024;
/** Rows of a backup that are held at a time. */
export const ROWS_HELD_MAX = 500;
/** Bytes of rows of a backup after which no more are held. */
export const ROWS_HELD_BYTES = 1024 * 1024;
/** Largest description of a backup that is read. */
export const MANIFEST_FILE_MAX_BYTES = 16 * 1024 * 1024;
/** Bytes of a blob that are held while it is checked or put back. */
export const BACKUP_BUFFER_BYTES = 1024 * 1024;
/** Blobs that are copied at a time. */
export const BLOBS_AT_ONCE = 4;
/** How long bytes are kept after whoever makes a backup has been heard of last. */
export const HOLD_MS = 10 * 60_000;
/** How often whoever makes a backup says that it goes on. */
export const HOLD_RENEW_MS = 60_000;
/** How long the hub may be silent while it sends a backup. */
export const SILENCE_MS = 60_000;
/** How often a request is made that the hub did not answer to the end. */
export const ATTEMPTS_MAX = 8;
/** Longest pause before the first of those requests; it doubles from one to the next. */
export const ATTEMPT_PAUSE_BASE_MS = 500;
/** Longest pause between those requests. */
export const ATTEMPT_PAUSE_MAX_MS = 30_000;
/** How often progress is told. */
export const PROGRESS_MS = 2000;
/** Problems that are listed; more are only counted. */
export const BACKUP_PROBLEMS_MAX = 1000;
/**
 * Serials that are skipped by a restore, beside those that time alone could have used up: what was
 * issued after the backup, by clocks that disagree.
 */
export const SERIAL_GAP = 2 ** 32;
/** Serials that no hub issues in a millisecond. */
export const SERIALS_PER_MS = 16;
/** Versions of the list of keys that are skipped by a restore. */
export const KEY_SERIAL_GAP = 2 ** 20;
