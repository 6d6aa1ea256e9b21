import type { Digest } from '../../proto/oci/digest.ts';
import type { NewTagCheck, TagCheck } from '../catalog/port.ts';

/** A tag, and what it names. */
export type TagOf = { tag: string; digest: Digest };

/** Bytes of a blob that were parked on their way from an upstream: an upload of the hub itself. */
export type ParkedIngest = {
  /** Id of the upload. */
  session: string;
  repository: string;
  subject: string;
  /** The hub that goes on with it, or did last. */
  holder: string;
  /** Until then nobody else does, ms since 1970. */
  heldUntilMs: number;
};

/** What all hubs on one catalog know of upstreams beside the content itself. */
export interface UpstreamStore {
  tagCheck(repository: string, tag: string): Promise<TagCheck | undefined>;
  /**
   * A tag names this digest still. Nothing for one that does not, or of which something later is
   * noted; goes with the tag.
   */
  tagChecked(repository: string, tag: TagOf, check: NewTagCheck): Promise<void>;
  /**
   * Size in bytes of a blob that a manifest of the repository names and that no repository has;
   * undefined for any other.
   */
  coldBlob(repository: string, digest: Digest): Promise<number | undefined>;
  /** Size in bytes that a manifest of the repository says a blob has. */
  namedSize(repository: string, digest: Digest): Promise<number | undefined>;
  /** What was parked of a blob. `scope`: who may share in it. */
  parked(scope: string, digest: Digest): Promise<ParkedIngest | undefined>;
  /** Names what was parked; it goes with its upload. False when another is named already. */
  park(scope: string, digest: Digest, session: string): Promise<boolean>;
}
