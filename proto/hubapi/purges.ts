import { Type, type Static } from 'typebox';

export const PurgeRequest = Type.Object(
  { digest: Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' }) },
  { additionalProperties: false },
);

/** What is taken down, and nodes by name that have not yet removed all of it. */
export const PurgeList = Type.Object({
  purged: Type.Array(Type.String()),
  unreached: Type.Array(Type.String()),
  /** In the answer to taking down: whether the hub had it. */
  known: Type.Optional(Type.Boolean()),
});
export type PurgeList = Static<typeof PurgeList>;
