/** Deepest nesting of JSON that is read, in objects and lists within each other. */
export const JSON_DEPTH_MAX = 64;
/** Values in one JSON text, counting each object, list and what is in them. */
export const JSON_VALUES_MAX = 500_000;
/** Characters of an error with its causes in one log line. */
export const MESSAGE_MAX_CHARS = 2_000;
/** Causes of an error that are told. */
export const CAUSES_MAX = 8;
/** Longest time a timer of the platform can count; longer waits are made of several. */
export const TIMER_MAX_MS = 2 ** 31 - 1;
