import { Type } from 'typebox';
import { ByteSize, Duration } from '../../proto/ops/config.ts';
import { CHUNK_MEMORY_BYTES, GRANT_OUTAGE_GRACE_MS } from './constants.ts';

const MIB = 1024 * 1024;

/** Section `fetch`. */
export const FetchSection = Type.Object(
  {
    chunkMemory: ByteSize({
      description: 'most bytes of chunks between network and disk, over all downloads',
      default: `${CHUNK_MEMORY_BYTES / MIB}MiB`,
      minimum: 16 * MIB,
    }),
    grantOutageGrace: Duration({
      description: 'how long rights live on beyond their end while the hub cannot be asked',
      default: `${GRANT_OUTAGE_GRACE_MS / 60_000}m`,
      minimum: 0,
      maximum: 24 * 60 * 60_000,
    }),
  },
  { description: 'fetching of content from peers, the hub and upstreams', default: {} },
);
