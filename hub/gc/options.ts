import { Type, type Static } from 'typebox';
import { Duration } from '../../proto/ops/config.ts';

const MINUTE_MS = 60_000;
const YEAR_MS = 365 * 86_400_000;

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
  },
  { description: 'collection of blobs that no manifest names', default: {} },
);

/** Decoded: durations in ms. */
export type GcConfig = Static<typeof GcOptions>;
