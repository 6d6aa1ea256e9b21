import type { Digest } from '../../proto/oci/digest.ts';
import { OciError } from '../../proto/oci/errors.ts';
import type { Reference } from '../../proto/oci/name.ts';
import { awayHeader } from '../../proto/distribution/upstream-away.ts';
import type { OpenBlob } from '../blobs/port.ts';
import type { Referrer } from '../catalog/port.ts';
import type { UpstreamPlace, Upstreams } from '../upstream/port.ts';

/** A manifest of an upstream. */
export type PulledManifest = {
  digest: Digest;
  mediaType: string;
  /** Bytes of the manifest. */
  size: number;
  /** Absent where only HEAD was asked and only HEAD was needed. */
  bytes: Buffer | undefined;
  /** The upstream could not be asked whether this is still so. */
  isStale: boolean;
};

type Options = { signal: AbortSignal };

/**
 * What other registries have, as far as this hub answers for them. Rights were checked before.
 * Each method rejects with OciError: MANIFEST_UNKNOWN, BLOB_UNKNOWN or NAME_UNKNOWN for what the
 * upstream does not have, and UpstreamAway for what cannot be said or fetched now.
 */
export interface PullThrough {
  readonly upstreams: Pick<Upstreams, 'nameOf' | 'placeOf'>;
  manifest(
    place: UpstreamPlace,
    reference: Reference,
    o: Options & { headOnly: boolean },
  ): Promise<PulledManifest>;
  /** Bytes may still be on their way: reads wait for them. */
  openBlob(place: UpstreamPlace, digest: Digest, o: Options): Promise<OpenBlob>;
  headBlob(place: UpstreamPlace, digest: Digest, o: Options): Promise<{ size: number }>;
  /** Tags after `last`, `n` at most. */
  tags(
    place: UpstreamPlace,
    page: { n: number; last?: string },
    o: Options,
  ): Promise<{ tags: string[]; isStale: boolean }>;
  /** All there are, or as many as an answer may list. */
  referrers(
    place: UpstreamPlace,
    subject: Digest,
    o: Options & { artifactType?: string | undefined },
  ): Promise<{ referrers: Referrer[]; isStale: boolean }>;
}

/** An upstream that cannot be asked now, and nothing older that may be answered in its place. */
export class UpstreamAway extends OciError {
  readonly retryAfterS: number;

  /** `message`: one sentence that names the upstream, and when it works again. */
  constructor(message: string, options: { retryAfterS: number; cause?: unknown }) {
    super(message, { code: 'UNAVAILABLE' }, { cause: options.cause });
    this.retryAfterS = options.retryAfterS;
  }
}

/** What a client is told besides: when to come back, and, since HEAD has no body, the sentence. */
export function awayHeaders({ message, retryAfterS }: UpstreamAway): Record<string, string> {
  return { 'retry-after': String(retryAfterS), ...awayHeader(message) };
}
