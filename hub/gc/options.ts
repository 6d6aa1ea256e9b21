import { Type, type Static } from 'typebox';
import { Duration } from '../../proto/ops/config.ts';
import { formatDuration, parseDuration } from '../../proto/std/duration.ts';

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 86_400_000;
const UNTAGGED_MIN_MS = 10 * MINUTE_MS;
const KEEP = 'keep';

/** Section `gc` of the hub. */
export const GcOptions = Type.Object(
  {
    interval: Duration({
      description: 'how often blobs that no manifest names are collected; one hub of all does it',
      default: '1h',
      minimum: MINUTE_MS,
      maximum: YEAR_MS,
    }),
    grace: Duration({
      description:
        'how long a blob that no manifest names is left alone after it was pushed, mounted, ' +
        'asked for by a push, or named last; longer than a push takes',
      default: '2h',
      minimum: 10 * MINUTE_MS,
      maximum: YEAR_MS,
    }),
    quarantine: Duration({
      description: 'how long the bytes of a collected blob are kept, so that it can be restored',
      default: '24h',
      minimum: 0,
      maximum: YEAR_MS,
    }),
    untagged: Type.String({
      description:
        'how long a manifest is kept that no tag, no index and no subject of its repository ' +
        'reaches, such as 30d; or keep, for ever',
      default: KEEP,
    }),
  },
  { description: 'collection of content that nothing names', default: {} },
);

/** Decoded: durations in ms. */
export type GcConfig = Static<typeof GcOptions>;

/** Age at which manifests that nothing reaches are deleted, in ms; undefined: never. */
export function untaggedMsOf({ untagged }: Pick<GcConfig, 'untagged'>): number | undefined {
  return untagged === KEEP ? undefined : parseDuration(untagged);
}

/** Tells of a setting that is none. */
export function checkGc(gc: GcConfig, refuse: (path: string, message: string) => void): void {
  const bounds = `${formatDuration(UNTAGGED_MIN_MS)} to ${formatDuration(YEAR_MS)}`;
  let ms: number | undefined;
  try {
    ms = untaggedMsOf(gc);
  } catch {
    ms = Number.NaN;
  }
  if (ms === undefined || (ms >= UNTAGGED_MIN_MS && ms <= YEAR_MS)) return;
  refuse('gc.untagged', `must be ${KEEP}, or a duration from ${bounds}`);
}
