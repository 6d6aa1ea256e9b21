import { Type, type Static } from 'typebox';
import { API_PAGE_MAX } from './admin.ts';

const NAME_MAX_CHARS = 64;
const PATTERN_MAX_CHARS = 255;
const PATTERNS_MAX = 64;
const ANNOTATIONS_MAX = 16;
const TEXT_MAX_CHARS = 1024;
const PLATFORMS_MAX = 32;
const DROP_MAX = 16;
const BANDWIDTH_MIN = 10_000;
/** Artifacts of one rule that are copied at the same time. */
export const REPLICATION_CONCURRENCY_MAX = 16;
/** Attempts at one artifact within one run of its job. */
export const REPLICATION_ATTEMPTS_MAX = 10;

const CLOSED = { additionalProperties: false };
const Time = Type.String({ format: 'date-time' });
const MaybeTime = Type.Union([Time, Type.Null()]);
const Count = Type.Integer({ minimum: 0 });
const Pattern = Type.String({ minLength: 1, maxLength: PATTERN_MAX_CHARS });
const Patterns = Type.Array(Pattern, { maxItems: PATTERNS_MAX });
const Text = Type.String({ maxLength: TEXT_MAX_CHARS, pattern: String.raw`^[^\u0000]*$` });

export const RuleName = Type.String({
  maxLength: NAME_MAX_CHARS,
  pattern: '^[a-z0-9]+(?:[._-][a-z0-9]+)*$',
});

/** What is copied from where to where, when, and how. */
export const RuleSettings = Type.Object(
  {
    direction: Type.Union([Type.Literal('push'), Type.Literal('pull')], {
      description: 'push: from this hub to the registry; pull: the other way',
    }),
    registry: Type.String({
      description: 'name in replication.registries of the configuration',
      minLength: 1,
      maxLength: NAME_MAX_CHARS,
    }),
    repositories: Type.Array(Pattern, {
      description: 'as the source names them; * is any part of a segment, ** any segments',
      minItems: 1,
      maxItems: PATTERNS_MAX,
    }),
    excludedRepositories: Type.Optional(Patterns),
    tags: Type.Optional(
      Type.Object(
        {
          globs: Type.Optional(Patterns),
          regex: Type.Optional(
            Type.String({
              description: 'fits the whole tag; without look-around and back references',
              maxLength: PATTERN_MAX_CHARS,
            }),
          ),
          semver: Type.Optional(
            Type.String({
              description: 'a range such as ^1.4 or >=2.0 <3, of tags like 1.4.2 or v1.4.2',
              maxLength: PATTERN_MAX_CHARS,
            }),
          ),
          excluded: Type.Optional(Patterns),
        },
        { ...CLOSED, description: 'a tag must fit all that is given; if left out, every tag' },
      ),
    ),
    artifactTypes: Type.Optional(
      Type.Array(Pattern, {
        description: 'artifactType of the manifest, else the media type of its config or its own',
        maxItems: PATTERNS_MAX,
      }),
    ),
    annotations: Type.Optional(
      Type.Record(Type.String({ maxLength: PATTERN_MAX_CHARS }), Text, {
        description:
          'annotations that the manifest must have, or labels of its image (of an index, of its ' +
          'first one); * is any value',
        maxProperties: ANNOTATIONS_MAX,
      }),
    ),
    namespace: Type.Optional(
      Type.String({
        description: 'goes before the names at the destination',
        maxLength: PATTERN_MAX_CHARS,
      }),
    ),
    dropSegments: Type.Optional(
      Type.Integer({
        description: 'leading path segments to leave out at the destination; -1: all but the last',
        minimum: -1,
        maximum: DROP_MAX,
      }),
    ),
    platforms: Type.Optional(
      Type.Array(Type.String({ pattern: '^[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?$' }), {
        description: 'such as linux/amd64 or linux/arm/v7; if left out, all',
        maxItems: PLATFORMS_MAX,
      }),
    ),
    platformPolicy: Type.Optional(
      Type.Union([Type.Literal('refuse'), Type.Literal('children')], {
        description:
          'an index with other platforms than those: refuse it, since without them it would have ' +
          'another digest; or copy the chosen images of it without the index',
      }),
    ),
    override: Type.Optional(
      Type.Boolean({ description: 'move tags that name something else (default true)' }),
    ),
    deletion: Type.Optional(
      Type.Union([Type.Literal('keep'), Type.Literal('mirror')], {
        description:
          'mirror: a run removes tags at the destination that fit the rule and are gone at the ' +
          'source (default keep)',
      }),
    ),
    referrers: Type.Optional(
      Type.Boolean({ description: 'signatures, SBOMs and others come along (default true)' }),
    ),
    schedule: Type.Optional(
      Type.String({ description: 'cron: five fields, in UTC', maxLength: PATTERN_MAX_CHARS }),
    ),
    onPush: Type.Optional(
      Type.Boolean({ description: 'also what is pushed, at once; of rules that push' }),
    ),
    bandwidth: Type.Optional(
      Type.Integer({
        description: 'bytes per second of all that this rule copies at one hub',
        minimum: BANDWIDTH_MIN,
      }),
    ),
    concurrency: Type.Optional(
      Type.Integer({
        description: 'artifacts at the same time (default 4)',
        minimum: 1,
        maximum: REPLICATION_CONCURRENCY_MAX,
      }),
    ),
    attempts: Type.Optional(
      Type.Integer({
        description: 'attempts at an artifact in one run of a job (default 4)',
        minimum: 1,
        maximum: REPLICATION_ATTEMPTS_MAX,
      }),
    ),
  },
  CLOSED,
);
export type RuleSettings = Static<typeof RuleSettings>;

export const NewRule = Type.Object(
  {
    name: RuleName,
    enabled: Type.Optional(Type.Boolean({ description: 'default true' })),
    settings: RuleSettings,
  },
  CLOSED,
);
export const RuleChange = Type.Object(
  { enabled: Type.Optional(Type.Boolean()), settings: Type.Optional(RuleSettings) },
  { ...CLOSED, minProperties: 1 },
);
export const RuleAnswer = Type.Object({
  name: Type.String(),
  enabled: Type.Boolean({ description: 'else it has neither schedule nor pushes' }),
  settings: RuleSettings,
  changed: Time,
  next: Type.Union([Time, Type.Null()], { description: 'when its schedule comes' }),
});
export type RuleAnswer = Static<typeof RuleAnswer>;
export const RuleList = Type.Object({ rules: Type.Array(RuleAnswer) });
export type RuleList = Static<typeof RuleList>;

export const RegistryList = Type.Object({
  registries: Type.Array(Type.Object({ name: Type.String(), url: Type.String() })),
});
export type RegistryList = Static<typeof RegistryList>;

/** What became of artifacts so far. */
export const ReplicationCounts = Type.Object({
  copied: Count,
  present: Count,
  skipped: Count,
  refused: Count,
  failed: Count,
  deleted: Count,
  bytes: Type.Integer({ description: 'of blobs that were sent' }),
});
export type ReplicationCounts = Static<typeof ReplicationCounts>;

export const ExecutionAnswer = Type.Object({
  id: Type.String(),
  rule: Type.String(),
  trigger: Type.String({ description: 'manual, schedule or push' }),
  state: Type.String({ description: 'queued, running, done, failed, stopped' }),
  stopping: Type.Boolean(),
  attempt: Count,
  message: Type.String(),
  counts: ReplicationCounts,
  made: Time,
  due: Time,
  begun: MaybeTime,
  ended: MaybeTime,
});
export type ExecutionAnswer = Static<typeof ExecutionAnswer>;
export const ExecutionList = Type.Object({
  executions: Type.Array(ExecutionAnswer),
  next: Type.Optional(Type.String()),
});
export type ExecutionList = Static<typeof ExecutionList>;
export const ExecutionStarted = Type.Object({ id: Type.String() });
export const ExecutionStopped = Type.Object({
  state: Type.String({ description: 'stopped, stopping, or ended before' }),
});

export const ArtifactAnswer = Type.Object({
  repository: Type.String(),
  reference: Type.String(),
  destination: Type.String(),
  digest: Type.Union([Type.String(), Type.Null()]),
  state: Type.String({
    description: 'copying, copied, present, skipped, refused, failed or deleted',
  }),
  message: Type.String(),
  counts: Type.Object({
    copied: Type.Integer({ description: 'blobs sent' }),
    mounted: Count,
    present: Type.Integer({ description: 'blobs that were there' }),
    manifests: Count,
    referrers: Count,
    bytes: Count,
  }),
  attempts: Count,
  changed: Time,
});
export type ArtifactAnswer = Static<typeof ArtifactAnswer>;
export const ArtifactList = Type.Object({
  artifacts: Type.Array(ArtifactAnswer),
  next: Type.Optional(Type.String()),
});
export type ArtifactList = Static<typeof ArtifactList>;

const Last = Type.Optional(
  Type.String({ maxLength: TEXT_MAX_CHARS, pattern: String.raw`^[^\u0000]*$` }),
);
const N = Type.Optional(
  Type.String({
    pattern: '^[1-9][0-9]{0,5}$',
    description: `entries of one page, ${API_PAGE_MAX} at most and unless said`,
  }),
);
export const ExecutionQuery = Type.Object(
  { n: N, last: Last, rule: Type.Optional(RuleName) },
  CLOSED,
);
export const ArtifactQuery = Type.Object(
  { n: N, last: Last, state: Type.Optional(Type.String({ pattern: '^[a-z]{1,16}$' })) },
  CLOSED,
);
