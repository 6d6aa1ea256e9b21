/** How long an agent that starts waits for the hub to say what is taken down before it serves. */
export const PURGED_WAIT_MS = 3_000;
/** Largest file of what was taken down that is read, bytes. */
export const PURGED_FILE_MAX_BYTES = 512 * 1024;
