import { Type, type Static } from 'typebox';
import {
  PREFETCH_PLATFORMS_MAX,
  PREFETCH_REASON_MAX_CHARS,
  PREFETCH_REPORTS_MAX,
} from './constants.ts';
import { GrantResponse } from './schemas.ts';

const ID_CHARS = 64;
const NAME_MAX_CHARS = 255;
const IMAGE_MAX_CHARS = 1024;
const NODES_MAX_CHARS = 1024;
const TAG_MAX_CHARS = 128;
const CRON_MAX_CHARS = 255;
const COPIES_MAX = 20_000;
const REACH_MIN_MS = 1000;
const REACH_MAX_MS = 86_400_000;
const LIFE_MIN_MS = 1000;
const LIFE_MAX_MS = 365 * 86_400_000;
const CLOSED = { additionalProperties: false };

const Id = Type.String({ pattern: `^[0-9a-f]{1,${ID_CHARS}}$` });
const Name = Type.String({ minLength: 1, maxLength: NAME_MAX_CHARS });
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Platform = Type.String({
  pattern: '^(all|[a-z0-9_.-]{1,32}/[a-z0-9_.-]{1,32}(/[a-z0-9_.-]{1,32})?)$',
  description: 'such as linux/amd64; all stands for every one',
});
const Platforms = Type.Array(Platform, {
  maxItems: PREFETCH_PLATFORMS_MAX,
  description: 'of an image of several; none: that of each node',
});
const Time = Type.String({ format: 'date-time' });

// Between an agent and its hub. Both allow unknown properties: version N and N - 1 work together.

/** How far a node is with a task. */
export const PrefetchReport = Type.Object({
  id: Id,
  state: Type.Union([Type.Literal('running'), Type.Literal('done'), Type.Literal('failed')]),
  doneBytes: Count,
  /** 0 while it is not known. */
  totalBytes: Count,
  reason: Type.Optional(Type.String({ maxLength: PREFETCH_REASON_MAX_CHARS })),
});
export type PrefetchReport = Static<typeof PrefetchReport>;

export const PrefetchRequest = Type.Object({
  reports: Type.Array(PrefetchReport, { maxItems: PREFETCH_REPORTS_MAX }),
  /** It would begin another task. */
  ready: Type.Boolean(),
  /** The task whose rights are to be renewed. */
  renew: Type.Optional(Id),
});
export type PrefetchRequest = Static<typeof PrefetchRequest>;

export const PrefetchTask = Type.Object({
  id: Id,
  repository: Name,
  digest: Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' }),
  platforms: Platforms,
  expiresInMs: Count,
  /** What the node reads it with; left out when the hub knows too little of the content yet. */
  rights: Type.Optional(GrantResponse),
});
export type PrefetchTask = Static<typeof PrefetchTask>;

export const PrefetchResponse = Type.Object({
  /** When to call again, while there is something to do. */
  intervalMs: Count,
  /** Reported tasks that nobody wants any more. */
  stop: Type.Array(Id, { maxItems: PREFETCH_REPORTS_MAX }),
  task: Type.Optional(PrefetchTask),
  /** Of the task that was named in `renew`. */
  rights: Type.Optional(GrantResponse),
});
export type PrefetchResponse = Static<typeof PrefetchResponse>;

// The administration.

const Nodes = Type.String({
  maxLength: NODES_MAX_CHARS,
  description: 'terms such as zone=a,node=gpu-* that a node fits all of; empty: every node',
});
const ChoiceFields = {
  nodes: Type.Optional(Nodes),
  percent: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 100, description: 'only this part of the nodes' }),
  ),
  copies: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: COPIES_MAX,
      description: 'so many of them, whoever comes and goes, until the order ends',
    }),
  ),
  platforms: Type.Optional(Platforms),
  expiresInMs: Type.Optional(Type.Integer({ minimum: LIFE_MIN_MS, maximum: LIFE_MAX_MS })),
};

export const NewPrefetch = Type.Object(
  {
    image: Type.String({
      minLength: 1,
      maxLength: IMAGE_MAX_CHARS,
      description: 'such as team/app:v1 or docker.io/library/nginx@sha256:...',
    }),
    ...ChoiceFields,
    reachMs: Type.Optional(
      Type.Integer({
        minimum: REACH_MIN_MS,
        maximum: REACH_MAX_MS,
        description: 'a node that is silent for longer is not reached',
      }),
    ),
  },
  CLOSED,
);
export type NewPrefetch = Static<typeof NewPrefetch>;

export const PrefetchCounts = Type.Object({
  queued: Count,
  running: Count,
  done: Count,
  failed: Count,
  unreached: Count,
});
export type PrefetchCounts = Static<typeof PrefetchCounts>;

const PrefetchAnswerFields = {
  id: Id,
  policy: Type.Union([Name, Type.Null()]),
  image: Type.String({ description: 'repository and what was ordered of it' }),
  digest: Type.String({ description: 'what that was when it was ordered' }),
  nodes: Nodes,
  percent: Type.Union([Count, Type.Null()]),
  copies: Type.Union([Count, Type.Null()]),
  platforms: Type.Array(Type.String()),
  orderedBy: Type.String(),
  created: Time,
  expires: Time,
  ended: Type.Union([Time, Type.Null()]),
  result: Type.Union([Type.String(), Type.Null()], {
    description: 'done, failed, stopped or replaced; null while it goes on',
  }),
};

export const PrefetchAnswer = Type.Object({
  ...PrefetchAnswerFields,
  counts: PrefetchCounts,
  settled: Type.Boolean({ description: 'no node is at work, and none is waited for' }),
});
export type PrefetchAnswer = Static<typeof PrefetchAnswer>;

export const PrefetchList = Type.Object({
  prefetches: Type.Array(Type.Object(PrefetchAnswerFields)),
});
export type PrefetchList = Static<typeof PrefetchList>;

export const PrefetchNodeList = Type.Object({
  nodes: Type.Array(
    Type.Object({
      node: Name,
      state: Type.String({ description: 'queued, running, done, failed or unreached' }),
      doneBytes: Count,
      totalBytes: Count,
      reason: Type.String(),
    }),
  ),
});
export type PrefetchNodeList = Static<typeof PrefetchNodeList>;

export const PrefetchPolicy = Type.Object(
  {
    repository: Type.String({
      minLength: 1,
      maxLength: NAME_MAX_CHARS,
      description: '* is any part of a segment, ** any segments; one repository with a schedule',
    }),
    tag: Type.String({
      minLength: 1,
      maxLength: TAG_MAX_CHARS,
      description: '* is any part of a tag',
    }),
    onPush: Type.Optional(
      Type.Boolean({
        description: 'whenever such a tag is pushed, copied here, or seen to move upstream',
      }),
    ),
    cron: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: CRON_MAX_CHARS,
        description: 'five fields, in UTC: such as 0 3 * * *',
      }),
    ),
    ...ChoiceFields,
    enabled: Type.Optional(Type.Boolean()),
  },
  CLOSED,
);
export type PrefetchPolicy = Static<typeof PrefetchPolicy>;

export const PrefetchPolicyAnswer = Type.Object({
  name: Name,
  repository: Type.String(),
  tag: Type.String(),
  onPush: Type.Boolean(),
  cron: Type.Union([Type.String(), Type.Null()]),
  nodes: Nodes,
  percent: Type.Union([Count, Type.Null()]),
  copies: Type.Union([Count, Type.Null()]),
  platforms: Type.Array(Type.String()),
  expiresInMs: Count,
  enabled: Type.Boolean(),
  next: Type.Union([Time, Type.Null()]),
  note: Type.String({ description: 'what its last run came to' }),
});
export type PrefetchPolicyAnswer = Static<typeof PrefetchPolicyAnswer>;
export const PrefetchPolicyList = Type.Object({ policies: Type.Array(PrefetchPolicyAnswer) });

export const PrefetchPolicyRun = Type.Object({ ordered: Type.Array(Id) });
