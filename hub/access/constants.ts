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
/** Memory of one hash of a password, KiB (argon2id). */
export const ARGON2_MEMORY_KIB = 19_456;
/** Passes over that memory. */
export const ARGON2_PASSES = 2;
/** Lanes of one hash. */
export const ARGON2_LANES = 1;
/** Bytes of the salt of a password. */
export const ARGON2_SALT_BYTES = 16;
/** Bytes of the hash of a password. */
export const ARGON2_TAG_BYTES = 32;
/** Passwords hashed at the same time. */
export const HASHES_MAX = 2;
/** Logins that wait for their password to be hashed; more are told to come again. */
export const HASH_WAITERS_MAX = 256;
/** Random bytes of the secret of a robot and of a refresh token. */
export const SECRET_BYTES = 32;
/** Wrong passwords that may come from one address at once. */
export const ADDRESS_FAILURES_BURST = 60;
/** How long it takes until one more wrong password may come from an address. */
export const ADDRESS_FAILURE_MS = 1000;
/** Wrong passwords that may be tried for one account at once. */
export const ACCOUNT_FAILURES_BURST = 10;
/** How long it takes until one more wrong password may be tried for an account. */
export const ACCOUNT_FAILURE_MS = 6000;
/** Addresses whose wrong passwords are counted. */
export const THROTTLED_ADDRESSES_MAX = 10_000;
/** Accounts whose wrong passwords are counted. */
export const THROTTLED_ACCOUNTS_MAX = 10_000;
/** Pairs of address and account remembered because a login succeeded. */
export const TRUSTED_PAIRS_MAX = 10_000;
/** How long a login makes an address trusted at all hubs that share a catalog. */
export const TRUST_LIFE_MS = 30 * 86_400_000;
/** How long it is believed what the catalog said of such an address. */
export const TRUST_LOOK_MS = 5000;
/** How long a login waits for the catalog to count; then each hub counts for itself. */
export const LOGIN_STORE_TIMEOUT_MS = 1000;
/** And for how long it does so before the catalog is asked again. */
export const LOGIN_STORE_PAUSE_MS = 5000;
/** Logins that ask the catalog to count at a time; more count at this hub only. */
export const LOGIN_STORE_CALLS_MAX = 64;
/** Rows of failed logins, and of trusted addresses, that are kept in the catalog. */
export const LOGIN_ROWS_MAX = 100_000;
/** How often rows of logins that count no more are deleted from the catalog. */
export const LOGIN_PURGE_MS = 60_000;
/** How old rights may be that the hub acts on: a change counts everywhere after so long. */
export const RIGHTS_CACHE_MS = 5000;
/** Accounts, robots, projects and memberships remembered for so long. */
export const RIGHTS_CACHE_MAX = 20_000;
/** How long a password that was right is remembered, for clients that send it with each request. */
export const LOGIN_CACHE_MS = 60_000;
/** Logins remembered. */
export const LOGIN_CACHE_MAX = 10_000;
/** Verified tokens remembered until they end. */
export const TOKEN_CACHE_MAX = 10_000;
/** Life of a refresh token. */
export const REFRESH_LIFE_MS = 30 * 86_400_000;
/** How long a refresh token still counts after another took its place: its answer may be lost. */
export const REFRESH_GRACE_MS = 60_000;
/** Refresh tokens of one account or robot; the oldest goes. */
export const REFRESH_PER_SUBJECT_MAX = 100;
/** Most projects of a hub. */
export const PROJECTS_MAX = 100_000;
/** Most accounts of a hub. */
export const ACCOUNTS_MAX = 100_000;
/** Most robots of a project. */
export const ROBOTS_MAX = 1000;
/** Most permissions of a robot. */
export const ROBOT_PERMISSIONS_MAX = 64;
/** How long an agent may read on after a pod showed it the right, as long as the right lasts. */
export const LENT_MAX_MS = 24 * 60 * 60_000;
