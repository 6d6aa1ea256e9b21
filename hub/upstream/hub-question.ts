import { Type, type Static } from 'typebox';

/** Where one hub asks another for a blob that is on its way there. */
export const HUB_BLOB_PATH = '/api/replicas/v1/upstream-blob';
/** Where one hub asks another for leaves of a blob that is on its way there. */
export const HUB_LEAVES_PATH = '/api/replicas/v1/upstream-leaves';
/** Status of an answer that says why there is no blob. */
export const HUB_REFUSAL_STATUS = 424;

const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

/**
 * Bytes `[start, end)` of a blob; without `end` only its size. `checksLeaves`: for one who checks
 * them against leaves, as they come; of the size alone only while the blob is on its way.
 */
export const HubQuestion = Type.Object({
  repository: Type.String({ maxLength: 255 }),
  digest: Type.String({ maxLength: 160 }),
  start: Type.Optional(Type.Integer({ minimum: 0, maximum: OFFSET_MAX })),
  end: Type.Optional(Type.Integer({ minimum: 0, maximum: OFFSET_MAX })),
  checksLeaves: Type.Optional(Type.Boolean()),
});
export type HubQuestion = Static<typeof HubQuestion>;

/** Leaves from `from` on, once there are some; without it what there is, at once. */
export const HubLeavesQuestion = Type.Object({
  repository: Type.String({ maxLength: 255 }),
  digest: Type.String({ maxLength: 160 }),
  from: Type.Optional(Type.Integer({ minimum: 0, maximum: OFFSET_MAX })),
});
export type HubLeavesQuestion = Static<typeof HubLeavesQuestion>;

/** The size of a blob, bytes. */
export const HubBlob = Type.Object({ size: Type.Integer({ minimum: 0, maximum: OFFSET_MAX }) });

/**
 * Why there is no blob: `away` is an upstream that cannot be asked now, or `holder` is the hub that
 * goes on with the blob.
 */
export const HubRefusal = Type.Object({
  code: Type.Union([Type.Literal('unknown'), Type.Literal('denied'), Type.Literal('away')]),
  message: Type.String({ maxLength: 4096 }),
  retryAfterS: Type.Integer({ minimum: 0, maximum: OFFSET_MAX }),
  holder: Type.Optional(Type.String({ maxLength: 255 })),
});
export type HubRefusal = Static<typeof HubRefusal>;
