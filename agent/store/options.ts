import { Type } from 'typebox';
import { ByteSize, Duration } from '../../proto/ops/config.ts';
import {
  HIGH_WATER_SHARE,
  LOW_WATER_SHARE,
  PINNED_MAX,
  SCRUB_PERIOD,
  SCRUB_RATE,
} from './constants.ts';

const QUOTA_MIN_BYTES = 16 * 1024 * 1024;
const SCRUB_RATE_MIN_BYTES = 64 * 1024;
const SHARE_MIN = 0.1;
const NAME_MAX_CHARS = 512;

/** Section `store`. */
export const StoreSection = Type.Object(
  {
    quota: Type.Optional(
      ByteSize({
        description: 'most bytes of cached content; without it 80 % of the free space',
        minimum: QUOTA_MIN_BYTES,
      }),
    ),
    highWater: Type.Number({
      description: 'share of the quota above which the content that was read longest ago leaves',
      default: HIGH_WATER_SHARE,
      minimum: SHARE_MIN,
      maximum: 1,
    }),
    lowWater: Type.Number({
      description: 'share of the quota down to which it leaves',
      default: LOW_WATER_SHARE,
      minimum: SHARE_MIN,
      maximum: 1,
    }),
    scrubPeriod: Duration({
      description: 'content not hashed for so long is hashed again in the background; 0: never',
      default: SCRUB_PERIOD,
      minimum: 0,
    }),
    scrubRate: ByteSize({
      description: 'most bytes a second that are read for that',
      default: SCRUB_RATE,
      minimum: SCRUB_RATE_MIN_BYTES,
    }),
    containerdContent: Type.Optional(
      Type.String({
        description:
          "the content folder of this node's containerd, usually " +
          '/var/lib/containerd/io.containerd.content.v1.content: what is there is shared without ' +
          'a second copy, read only; needs the right to read it',
        minLength: 1,
      }),
    ),
    pinned: Type.Array(
      Type.String({
        description: 'an image name without tag, or a digest',
        minLength: 1,
        maxLength: NAME_MAX_CHARS,
      }),
      {
        description:
          'content that never leaves the cache: what was asked for under these repositories ' +
          '(team/app of the hub, docker.io/library/nginx of an upstream), and these digests',
        default: [],
        maxItems: PINNED_MAX,
      },
    ),
  },
  { description: 'the cache of image content on this node', default: {} },
);
