import { Type, type Static } from 'typebox';
import { API_PAGE_MAX } from './admin.ts';

const PAGE_NAME_MAX_CHARS = 1024;

const Time = Type.String({ format: 'date-time' });
const Count = Type.Integer({ minimum: 0 });
const Next = Type.Optional(
  Type.String({ description: 'of the next page, as last; without it there is none' }),
);

const GcReport = Type.Object(
  {
    manifests: Type.Integer({ description: 'deleted since nothing reached them' }),
    looked: Type.Integer({ description: 'blobs of repositories that may be unused' }),
    unlinked: Type.Integer({ description: 'taken from a repository' }),
    quarantined: Count,
    quarantinedBytes: Count,
    deleted: Type.Integer({ description: 'blobs whose bytes were removed' }),
    deletedBytes: Count,
    failed: Type.Integer({ description: 'blobs whose bytes could not be removed' }),
  },
  { description: 'what it did' },
);

/** A collection. */
export const GcRunAnswer = Type.Object({
  id: Type.String(),
  result: Type.String({ description: 'running, ok, failed, stopped, or lost with its hub' }),
  begun: Time,
  ended: Type.Union([Time, Type.Null()]),
  report: GcReport,
});
export type GcRunAnswer = Static<typeof GcRunAnswer>;

export const GcStatusAnswer = Type.Object({
  running: Type.Boolean({ description: 'a hub collects now' }),
  heldUntil: Type.Union([Time, Type.Null()], {
    description: 'until when a backup holds removals off, unless it goes on',
  }),
  last: Type.Union([GcRunAnswer, Type.Null()], { description: 'the one begun last' }),
});

export const GcStarted = Type.Object({ id: Type.String() });

/** What the next collection would take. */
export const GarbageAnswer = Type.Object({
  garbage: Type.Array(
    Type.Object({
      kind: Type.String({
        description:
          'manifest: deleted; repository-blob: taken from its repository, and into quarantine ' +
          'with the last one; blob: its bytes removed',
      }),
      repository: Type.Optional(Type.String()),
      digest: Type.String(),
      size: Count,
      since: Type.String({ format: 'date-time', description: 'of no use since then' }),
    }),
  ),
  next: Next,
});
export type GarbageAnswer = Static<typeof GarbageAnswer>;

export const QuarantineAnswer = Type.Object({
  quarantine: Type.Array(
    Type.Object({
      digest: Type.String(),
      size: Count,
      since: Time,
      until: Type.String({ format: 'date-time', description: 'when its bytes may be removed' }),
    }),
  ),
  next: Next,
});
export type QuarantineAnswer = Static<typeof QuarantineAnswer>;

export const Restored = Type.Object({ repositories: Type.Array(Type.String()) });
export type Restored = Static<typeof Restored>;

/** A page of a list that is not in the order of names. */
export const GcPageQuery = Type.Object(
  {
    n: Type.Optional(
      Type.String({
        pattern: '^[1-9][0-9]{0,5}$',
        description: `entries looked at for one page, ${API_PAGE_MAX} at most and unless said`,
      }),
    ),
    last: Type.Optional(
      Type.String({
        maxLength: PAGE_NAME_MAX_CHARS,
        pattern: '^[A-Za-z0-9_-]*$',
        description: 'next of the page before',
      }),
    ),
  },
  { additionalProperties: false },
);
