/** Connecting to the hub, TLS included. */
export const HUB_CONNECT_TIMEOUT_MS = 3_000;
/** From the request to the response headers. */
export const HUB_HEADERS_TIMEOUT_MS = 5_000;
/** Silence in the middle of a response body. */
export const HUB_BODY_TIMEOUT_MS = 5_000;
/** A call to the hub as a whole. */
export const HUB_CALL_TIMEOUT_MS = 10_000;
/** Connections to the hub API kept by one agent. */
export const HUB_CONNECTIONS_MAX = 8;
/** Calls under way or waiting for such a connection; beyond it a call fails at once. */
export const HUB_CALLS_MAX = 64;
/** Answers of the hub, except for the list of members. */
export const HUB_RESPONSE_MAX_BYTES = 8 * 1024 * 1024;
/** The list of members. */
export const MEMBERS_RESPONSE_MAX_BYTES = 32 * 1024 * 1024;
/** Time between two questions for a newer list of members. */
export const MEMBERS_POLL_MS = 5_000;
/** What changed is added to the list of members for so long, then the whole is asked for. */
export const MEMBERS_WHOLE_MS = 10 * 60_000;
/** Time between two questions for a newer key bundle, which may revoke a key. */
export const KEYS_POLL_MS = 60_000;
/** Retries of enrolment, renewal and polling. */
export const RETRY_BASE_MS = 500;
export const RETRY_MAX_MS = 30_000;
/** A membership is renewed when this part of its life is over. */
export const RENEW_AFTER_PART = 1 / 3;
/** Members of a fleet; what goes beyond is left out of the book and logged. */
export const MEMBERS_MAX = 20_000;
/** Members learned from peers and announcements before a snapshot showed them. */
export const LEARNED_MEMBERS_MAX = 1_024;
/** From a change among them to their file, for the next run. */
export const LEARNED_SAVE_DELAY_MS = 5_000;
/** That file; a larger one is not read. */
export const LEARNED_FILE_MAX_BYTES = 8 * 1024 * 1024;
/** Revoked serials kept. */
export const REVOKED_SERIALS_MAX = 65_536;
/** The persisted state with its last list of members. */
export const STATE_FILE_MAX_BYTES = 32 * 1024 * 1024;
/** Attempts of a call that others of this node overtook on the way. */
export const OVERTAKEN_RETRIES_MAX = 4;
/** Longest Authorization header of a runtime that is shown to the hub for a grant, characters. */
export const SHOWN_MAX_CHARS = 8192;
