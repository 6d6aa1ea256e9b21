/** A client that sends and takes nothing for this long inside a request or body is cut. */
export const SOCKET_IDLE_MS = 120_000;
/** Longer than the idle pools of Go clients, so that they close first. */
export const KEEP_ALIVE_MS = 100_000;
/** How long the headers of a request may take. */
export const HEADERS_TIMEOUT_MS = 30_000;
/** How long a TLS handshake may take. */
export const HANDSHAKE_TIMEOUT_MS = 15_000;
/** Connections to one address of the hub at the same time; more are closed at once. */
export const CONNECTIONS_MAX = 10_000;
/** Of these, those of one address (IPv6: one /64) that is no trusted proxy, unless configured. */
export const CONNECTIONS_PER_ADDRESS_MAX = 2000;
/** Connections refused to an address are told in one log line for so long, with their number. */
export const REFUSED_CONNECTIONS_LOG_MS = 60_000;
/** How long the body of a request to administration, token service or fleet may take. */
export const API_BODY_MS = 30_000;
/** Of the body of a request to the registry the least that comes in the time below, bytes. */
export const BODY_WINDOW_BYTES_MIN = 16_384;
export const BODY_WINDOW_MS = 60_000;
/** How often slow bodies are looked for. */
export const BODY_CHECK_MS = 5000;
/** How often certificate files are looked at. */
export const CERTIFICATE_POLL_MS = 5_000;
/** Hidden projects skipped for one page of the list of repositories. */
export const HIDDEN_PROJECTS_MAX = 10_000;
/** Repositories looked at in one turn, once some were hidden. */
export const HIDDEN_LOOK_MAX = 100;
/** Largest form sent to the token service. */
export const TOKEN_FORM_MAX_BYTES = 16_384;
/** Longest name in the path of a call that is not for the registry, characters. */
export const PATH_NAME_MAX_CHARS = 512;
