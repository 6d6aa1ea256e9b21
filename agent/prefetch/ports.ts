import type { PrefetchRequest, PrefetchResponse } from '../../proto/hubapi/prefetch.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { CallOptions, OpenRequest } from '../fetch/ports.ts';
import type { StoredBlob } from '../store/port.ts';

/** The hub, as far as it says what is to be here. */
export interface PrefetchHub {
  prefetch(request: PrefetchRequest, o: CallOptions): Promise<PrefetchResponse>;
}

/** Where content comes from that nobody reads. */
export interface PrefetchContent {
  /** A whole manifest whose digest was checked; undefined: no source has it. */
  manifest(request: OpenRequest, o: CallOptions): Promise<Buffer | undefined>;
  /** Resolves when the blob is here. */
  prefetch(request: OpenRequest, o: CallOptions): Promise<void>;
}

/** What is here. */
export interface PrefetchStore {
  find(digest: Digest): Pick<StoredBlob, 'complete' | 'have' | 'layout' | 'retain'> | undefined;
  getSmall(digest: Digest): Promise<Buffer | undefined>;
  /** Whether so much more fits without what is in use, pinned, or above the high-water mark. */
  hasRoomFor(bytes: number): boolean;
}

/** The rights of this node. */
export interface PrefetchGrants {
  /** When it ends, ms since 1970. */
  put(
    bundle: GrantBundle,
    place: { namespace: string; repository: string; digest: Digest },
  ): number;
  ensure(
    namespace: string,
    repository: Repository,
    digest: Digest,
    o: CallOptions,
  ): Promise<GrantBundle | undefined>;
}
