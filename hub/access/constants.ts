/** Life of a token of the token service, seconds. */
export const TOKEN_LIFE_S = 300;
/** Most scopes one token carries; more are left out. */
export const TOKEN_SCOPES_MAX = 32;
/** Longest Authorization header looked at, characters. */
export const AUTHORIZATION_MAX_CHARS = 16_384;
/** Random bytes of a generated password. */
export const PASSWORD_BYTES = 24;
/** Wrong credentials of the admin are told in one log line for so long, with their number. */
export const WRONG_PASSWORD_LOG_MS = 60_000;
