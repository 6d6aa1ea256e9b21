import { Type, type Static } from 'typebox';

/** Where one hub asks another for a blob that is on its way there. */
export const HUB_BLOB_PATH = '/api/replicas/v1/upstream-blob';
/** Status of an answer that says why there is no blob. */
export const HUB_REFUSAL_STATUS = 424;

const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

/** Bytes `[start, end)` of a blob; without `end` only its size. */
export const HubQuestion = Type.Object({
  repository: Type.String({ maxLength: 255 }),
  digest: Type.String({ maxLength: 160 }),
  start: Type.Optional(Type.Integer({ minimum: 0, maximum: OFFSET_MAX })),
  end: Type.Optional(Type.Integer({ minimum: 0, maximum: OFFSET_MAX })),
});
export type HubQuestion = Static<typeof HubQuestion>;

/** The size of a blob, bytes. */
export const HubBlob = Type.Object({ size: Type.Integer({ minimum: 0, maximum: OFFSET_MAX }) });

/** Why there is no blob: `away` is an upstream that cannot be asked now. */
export const HubRefusal = Type.Object({
  code: Type.Union([Type.Literal('unknown'), Type.Literal('denied'), Type.Literal('away')]),
  message: Type.String({ maxLength: 4096 }),
  retryAfterS: Type.Integer({ minimum: 0, maximum: OFFSET_MAX }),
});
export type HubRefusal = Static<typeof HubRefusal>;
