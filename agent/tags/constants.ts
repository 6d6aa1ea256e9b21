/** Names whose newest statement is kept; those not heard of for longest leave first. */
export const TAGS_MAX = 4_096;
/** The file of kept statements; a larger one is not read. */
export const TAG_FILE_MAX_BYTES = 16 * 1024 * 1024;
/** From a new statement to the file. */
export const TAG_SAVE_DELAY_MS = 1_000;
/** A statement younger than this is not asked for again while the tag names the same. */
export const TAG_FRESH_MS = 60_000;
/** Questions to the hub for statements at the same time; a further one waits for the next pull. */
export const TAG_ASKS_MAX = 32;
/** Time for the hub to give a statement. */
export const TAG_ASK_TIMEOUT_MS = 5_000;
/** Searches among peers at the same time; beyond it only what is known here counts. */
export const TAG_SEARCHES_MAX = 64;
/** Time for peers to tell of a statement when this node has none. */
export const TAG_SEARCH_MS = 1_500;
/** Time for peers to tell of a newer statement than this node has, or than one peer told of. */
export const TAG_SETTLE_MS = 300;
/** A statement that is here is not compared with those of peers again for this long. */
export const TAG_COMPARED_MS = 10_000;
