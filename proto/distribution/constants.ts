/** Time for a connection to come up. */
export const CONNECT_TIMEOUT_MS = 5_000;
/** Time from a request to the headers of its answer. */
export const HEADERS_TIMEOUT_MS = 30_000;
/** Time between two pieces of a body. */
export const BODY_IDLE_TIMEOUT_MS = 30_000;
/** Connections to one registry. */
export const CONNECTIONS_MAX = 32;
/** Redirects followed for one request. */
export const REDIRECTS_MAX = 5;
/** Tokens kept at the same time. */
export const TOKENS_MAX = 64;
/** Largest answer of a token service, bytes. */
export const TOKEN_MAX_BYTES = 65_536;
/** Longest life of a token that is believed. */
export const TOKEN_LIFE_MAX_MS = 24 * 3_600_000;
/** Life of a token whose service tells none, and shortest that counts. */
export const TOKEN_LIFE_MIN_MS = 60_000;
/** Characters of a WWW-Authenticate header; a longer one asks for nothing we can give. */
export const CHALLENGE_MAX_CHARS = 8_192;
/** Bytes of an answer that is not used which are read to keep its connection. */
export const DISCARD_MAX_BYTES = 65_536;
/** Time such a rest may take, else its connection is cut. */
export const DISCARD_TIMEOUT_MS = 1_000;
/** Hosts that one registry may redirect to, as configured. */
export const REDIRECT_HOSTS_MAX = 32;
/** Entries of each other list of hosts and networks of one registry. */
export const REGISTRY_HOSTS_MAX = 32;
/** Characters of a Link header; a longer one leads nowhere. */
export const LINK_MAX_CHARS = 4_096;
/** Characters of an entity tag that is remembered. */
export const ETAG_MAX_CHARS = 256;
/** Largest page of tags, bytes. */
export const TAGS_MAX_BYTES = 4 * 1024 * 1024;
/** Pages of referrers of one manifest that are read. */
export const REFERRER_PAGES_MAX = 16;
/** Repositories asked for at a time. */
export const CATALOG_PAGE = 1000;
/** Bytes of one page of names of repositories. */
export const CATALOG_MAX_BYTES = 4 * 1024 * 1024;
/** What a hub says of a registry behind it that cannot be asked. */
export const AWAY_MAX_CHARS = 512;
