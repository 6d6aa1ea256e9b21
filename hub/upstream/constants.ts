/** Upstreams in one configuration. */
export const UPSTREAMS_MAX = 64;
/** Accounts at one upstream. */
export const CREDENTIALS_MAX = 16;
/** Globs of repositories of one upstream. */
export const REPOSITORY_GLOBS_MAX = 256;
/** Entries of each list of hosts and networks of one upstream. */
export const UPSTREAM_HOSTS_MAX = 32;
/** Requests to one upstream at the same time, unless configured otherwise. */
export const UPSTREAM_CONNECTIONS = 16;
export const UPSTREAM_CONNECTIONS_MAX = 256;
/** Longest wait of any kind that a setting of an upstream may name. */
export const UPSTREAM_AGE_MAX_MS = 10 * 365 * 24 * 3_600_000;
