import { Type, type Static } from 'typebox';

/** Where the administrator asks for a join token: POST with Basic credentials. */
export const JOIN_TOKENS_PATH = '/api/v1/join-tokens';
/** Largest request and answer in bytes. */
export const JOIN_TOKEN_BODY_MAX_BYTES = 4096;
/** Most enrolments with one token. */
export const JOIN_TOKEN_USES_MAX = 1_000_000;
/** Longest life of a token. */
export const JOIN_TOKEN_LIFE_MAX_MS = 365 * 86_400_000;

export const JoinTokenRequest = Type.Object(
  {
    uses: Type.Integer({ minimum: 1, maximum: JOIN_TOKEN_USES_MAX }),
    expiresInMs: Type.Integer({ minimum: 1000, maximum: JOIN_TOKEN_LIFE_MAX_MS }),
  },
  { additionalProperties: false },
);
export type JoinTokenRequest = Static<typeof JoinTokenRequest>;

/** Readers take further members: a newer hub may answer more. */
export const JoinTokenResponse = Type.Object({ token: Type.String({ maxLength: 1024 }) });
export type JoinTokenResponse = Static<typeof JoinTokenResponse>;
