import { Type } from 'typebox';
import { ByteSize } from '../../proto/ops/config.ts';

const QUOTA_MIN_BYTES = 16 * 1024 * 1024;

/** Section `store`. */
export const StoreSection = Type.Object(
  {
    quota: Type.Optional(
      ByteSize({
        description: 'most bytes of cached content; without it 80 % of the free space',
        minimum: QUOTA_MIN_BYTES,
      }),
    ),
  },
  { description: 'the cache of image content on this node', default: {} },
);
