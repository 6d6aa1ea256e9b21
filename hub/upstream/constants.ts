/** Upstreams in one configuration. */
export const UPSTREAMS_MAX = 64;
/** Accounts at one upstream. */
export const CREDENTIALS_MAX = 16;
/** Globs of repositories of one upstream. */
export const REPOSITORY_GLOBS_MAX = 256;
/** Requests of one hub to one upstream at the same time, unless configured otherwise. */
export const UPSTREAM_CONNECTIONS = 16;
export const UPSTREAM_CONNECTIONS_MAX = 256;
/** Longest wait of any kind that a setting of an upstream may name. */
export const UPSTREAM_AGE_MAX_MS = 10 * 365 * 24 * 3_600_000;
/** Longest time a registry may tell us to wait that is believed. */
export const RETRY_AFTER_MAX_MS = 24 * 3_600_000;
/** Largest number of pulls, and longest time for them, that a registry may tell. */
export const PULLS_TOLD_MAX = 10_000_000;
export const PULL_WINDOW_MAX_MS = 31 * 24 * 3_600_000;
/** Characters that say whose pulls a registry counts. */
export const RATE_SOURCE_MAX_CHARS = 128;
/** First and longest wait after an upstream refused a request without saying for how long. */
export const REFUSED_BASE_MS = 30_000;
export const REFUSED_MAX_MS = 15 * 60_000;
/** How old the own view of what all hubs know of an upstream may be. */
export const BUDGET_VIEW_MS = 2_000;
/** How often the same count of an upstream is written down. */
export const BUDGET_TELL_MS = 30_000;
/** How often an upstream that allows no pull is asked for its count, which costs none. */
export const BUDGET_PROBE_MS = 60_000;
/** What nobody has told of an upstream for so long is dropped, and how often that is looked for. */
export const BUDGET_KEPT_MS = 7 * 24 * 3_600_000;
export const BUDGET_FORGET_MS = 3_600_000;
/** How often an upstream may say that it counts the pulls of an account with others than before. */
export const SOURCE_CHANGE_MS = 10 * 60_000;
/** Failures in a row after which a hub leaves an upstream alone; each hub sees its own. */
export const BREAKER_FAILURES = 5;
/** A request that is given up here counts as one of them when it had no answer for so long. */
export const SLOW_ANSWER_MS = 3_000;
/** First and longest time that it is left alone by that hub. */
export const BREAKER_BASE_MS = 5_000;
export const BREAKER_MAX_MS = 5 * 60_000;
/** Longest time that it is left alone because it says so; then one request tries it anyway. */
export const BREAKER_TOLD_MAX_MS = 15 * 60_000;
/** Tries of one request that a runtime waits for, and of one that was planned. */
export const INTERACTIVE_TRIES = 2;
export const SCHEDULED_TRIES = 3;
/** First and longest wait between them. */
export const RETRY_BASE_MS = 200;
export const RETRY_MAX_MS = 2_000;
/** One in so many of these, and one at least, is kept for what is answered at once. */
export const QUESTION_SLOTS_SHARE = 8;
/** Requests of one hub that wait for their turn at one upstream. */
export const SLOT_WAITERS_MAX = 1_024;
/** How long a request waits for its turn: one of a runtime, and one that was planned. */
export const INTERACTIVE_SLOT_WAIT_MS = 60_000;
export const SCHEDULED_SLOT_WAIT_MS = 15 * 60_000;
/** Positions in lists of tags that are remembered at one upstream, and for how long. */
export const TAG_PAGES_MAX = 256;
export const TAG_PAGE_AGE_MS = 5 * 60_000;
