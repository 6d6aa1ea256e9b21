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
