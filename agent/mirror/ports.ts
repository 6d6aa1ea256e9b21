import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import type { TagName } from '../../proto/trust/tag-statement.ts';
import type { BlobHandle, CallOptions, OpenRequest } from '../fetch/ports.ts';

/** A call made on behalf of a runtime: its own Authorization header goes to that registry only. */
export type AskOptions = CallOptions & { authorization?: string | undefined };

/** What a registry says about a manifest without sending it. */
export type ManifestHead = {
  /** Absent when the registry does not tell. */
  digest: Digest | undefined;
  mediaType: string;
  size: number;
  /** The hub could not ask its upstream, and names what it knew. */
  isStale?: true;
};

export type ManifestBytes = {
  bytes: Buffer;
  digest: Digest;
  mediaType: string;
  /** Likewise. */
  isStale?: true;
};

/**
 * The hub, or a configured upstream, as the mirror asks it. undefined means 404 there. Rejects
 * with MirrorError UNAUTHORIZED (challenge included) or UNAVAILABLE.
 */
export interface Origin {
  headManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions,
  ): Promise<ManifestHead | undefined>;
  /** At most 4 MiB; the digest is that of the bytes. */
  getManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions,
  ): Promise<ManifestBytes | undefined>;
  headBlob(
    repository: Repository,
    digest: Digest,
    o: AskOptions,
  ): Promise<{ size: number } | undefined>;
}

/** Rights of this node in hub repositories. */
export interface GrantSource {
  /**
   * undefined: the hub knows no such content there. Rejects when nobody can tell. A private grant
   * is one of the node: whether the runtime has the right is another question.
   */
  ensure(
    namespace: string,
    repository: string,
    digest: Digest,
    o: AskOptions,
  ): Promise<GrantBundle | undefined>;
}

/** Where bytes come from when they are not here yet: peers, the hub, the upstream. */
export interface ContentSource {
  /** A whole manifest whose digest was checked. undefined: no source has it. */
  manifest(request: OpenRequest, o: CallOptions): Promise<Buffer | undefined>;
  /** The manifest was resolved under `place`; its bytes are given if they are at hand. */
  notice(place: Place, manifest: Digest, bytes?: Buffer): void;
  /** A runtime was given this manifest: it will ask for what it names in a moment. */
  ahead(place: Place, manifest: Digest, bytes: Buffer): void;
  /** Rejects with code NOT_FOUND when no source has the blob. */
  open(request: OpenRequest, o: CallOptions): Promise<BlobHandle>;
}

/** A blob of more than 4 MiB of which at least a part is here. */
export type LocalBlob = { size: number; have: { count: number }; complete: boolean };

type Place = { namespace: string; repository: Repository };

/** What is on this node already. */
export interface LocalContent {
  getSmall(digest: Digest): Promise<Buffer | undefined>;
  /** `place` is what it was asked under. */
  putSmall(digest: Digest, bytes: Buffer, place: Place): Promise<void>;
  find(digest: Digest): LocalBlob | undefined;
  /** A blob of which nobody knows yet whether it is what its digest says. */
  growing?(digest: Digest): LocalBlob | undefined;
}

/** What the hub stated of a tag at `timeMs`, kept by this node or told by a peer. */
export type StaleTag = { digest: Digest; timeMs: number; source: 'own' | 'peer' };

/** Statements of the hub about tags. */
export interface TagSource {
  /** Whether the hub answered of late. */
  readonly online: boolean;
  /** The hub has just answered what the name means; undefined: that there is no such tag. */
  resolved(name: TagName, digest: Digest | undefined): void;
  /** The newest statement that is not older. Says nothing about rights. */
  newest(name: TagName, maxAgeMs: number, o: CallOptions): Promise<StaleTag | undefined>;
}

/** Tokens of the hub, read without asking it. */
export interface HubTokenReader {
  /** False says nothing: the hub may still know better. */
  mayRead(authorization: string | undefined, repository: string): boolean;
}
