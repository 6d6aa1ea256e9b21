import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import type { OpenBlob } from '../blobs/port.ts';

/**
 * Who waits: a runtime now, or work that was planned. A part of each budget is kept for the first.
 */
export type Urgency = 'interactive' | 'scheduled';

export type AskOptions = {
  signal?: AbortSignal | undefined;
  urgency: Urgency;
  /** Called when its turn has come: the wait for that says nothing of the upstream. */
  onTurn?: (() => void) | undefined;
};

/** What an upstream says of a manifest without sending it. */
export type UpstreamHead = {
  /** Absent when the registry does not tell. */
  digest: Digest | undefined;
  mediaType: string;
  /** Bytes; undefined when the registry tells none. */
  size: number | undefined;
  etag: string | undefined;
};

/** An entry of the referrers of a manifest; `size` where the registry tells it, bytes. */
export type UpstreamReferrer = {
  digest: Digest;
  mediaType: string;
  size?: number;
  artifactType?: string;
  annotations?: Record<string, string>;
};

/** Bytes `[start, end)` of a blob of `size` bytes; the digest is unchecked. */
export type UpstreamBody = {
  size: number;
  start: number;
  end: number;
  /** Rejects with DistributionError BODY_SHORT when it ends early. */
  body: AsyncIterable<Buffer>;
};

/**
 * One configured registry, asked within its budgets: rate, concurrency, bandwidth; behind a
 * breaker.
 * Repositories are named as that registry names them (`library/nginx`). undefined stands for a 404.
 * Rejects with UpstreamError, and with DistributionError where an answer is not what the
 * distribution-spec says.
 */
export interface Upstream {
  /** First segment of its repositories, and never for people: a port stands behind a dot. */
  readonly name: string;
  /** What people know it by, as in image names: `docker.io`, `registry.example:5000`. */
  readonly host: string;
  headManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions & { ifNoneMatch?: string | undefined },
  ): Promise<UpstreamHead | 'unchanged' | undefined>;
  /** At most 4 MiB, its digest checked. */
  getManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions,
  ): Promise<{ bytes: Buffer; digest: Digest; mediaType: string } | undefined>;
  headBlob(
    repository: Repository,
    digest: Digest,
    o: AskOptions,
  ): Promise<{ size: number } | undefined>;
  openBlob(
    repository: Repository,
    digest: Digest,
    o: AskOptions & { start?: number; end?: number },
  ): Promise<UpstreamBody | undefined>;
  /** One page of tags, in the registry's order. */
  tags(
    repository: Repository,
    page: { n: number; last?: string | undefined },
    o: AskOptions,
  ): Promise<string[] | undefined>;
  /** Descriptors of what refers to a manifest, fallback tags included. */
  referrers(
    repository: Repository,
    subject: Digest,
    o: AskOptions,
  ): Promise<readonly UpstreamReferrer[] | undefined>;
}

/** How content of an upstream is kept; decoded from the configuration. */
export type UpstreamPolicy = {
  /** Globs of repositories, as the upstream names them; empty: all. */
  repositories: readonly string[];
  freshness: { kind: 'always' } | { kind: 'ttl'; ms: number } | { kind: 'pinned' };
  /** How old a tag may be that is served while the upstream cannot be asked, ms; 0: never. */
  staleMaxAgeMs: number;
  /** How long a 404 counts, ms. */
  negativeMs: number;
  /** What happens to a tag that the upstream says it has no more. */
  onDeleted: 'keep' | 'remove';
  /** Who may have bytes of a blob whose digest is not checked yet. */
  provisional: 'readers' | 'swarm-only';
};

/** A repository of the hub that stands for one of an upstream: `docker.io/library/nginx`. */
export type UpstreamPlace = {
  upstream: Upstream;
  policy: UpstreamPolicy;
  /** As the hub names it, first segment the canonical host. */
  repository: Repository;
  /** As the upstream names it. */
  remote: Repository;
};

/** How one upstream is named. */
export type UpstreamNames = {
  /** First segment of its repositories: its host, a port behind a dot. */
  name: string;
  /** What people know it by, as in image names: `docker.io`, `registry.example:5000`. */
  host: string;
  alias: string | undefined;
  /** Who may read its project when that is made. */
  visibility: 'public' | 'private';
};

/** The configured upstreams. */
export interface Upstreams {
  readonly names: readonly string[];
  readonly all: readonly UpstreamNames[];
  /** Canonical name of an upstream by host or alias; `index.docker.io` is `docker.io`. */
  nameOf(hostOrAlias: string): string | undefined;
  /**
   * What a repository of the hub stands for; undefined for one of the hub's own. A Docker Hub name
   * of one word gets its `library/`.
   * @throws OciError NAME_UNKNOWN for a host that is no upstream, or a repository that is not
   * allowed
   */
  placeOf(repository: Repository): UpstreamPlace | undefined;
}

/** Bytes of a blob on their way from an upstream, from their first byte to the stored blob. */
export interface RunningIngest {
  /** Told apart from any other try to fetch the same blob. */
  readonly session: string;
  readonly digest: Digest;
  /** Bytes of the whole, as the upstream says. */
  readonly size: number;
  /** Bytes that are here and readable. */
  readonly received: number;
  readonly provisional: UpstreamPolicy['provisional'];
  /** Hashes of the leaves of 1 MiB that are complete, from leaf `first` on, 32 bytes each. */
  leavesFrom(first: number): Buffer;
  /** Resolves when more than `received` bytes are here, or it ended. */
  progress(received: number, o: { signal?: AbortSignal | undefined }): Promise<void>;
  /** `stored`: whole, digest checked, in the catalog. `wrong`: the bytes have another digest. */
  readonly outcome: Promise<'stored' | 'wrong' | 'failed'>;
  /**
   * Reads what is here, and waits for what is not; rejects when the ingest fails. `checksLeaves`:
   * for one who checks the bytes against leaves of this session, and gets them also where others
   * have to wait for the digest.
   */
  open(o: { signal?: AbortSignal | undefined; checksLeaves?: boolean }): Promise<OpenBlob>;
  /** Somebody is to have it: of one that was begun ahead, more than its first bytes are fetched. */
  want?(): void;
}

/** Ingests that run at this hub. */
export interface Ingests {
  find(repository: Repository, digest: Digest): RunningIngest | undefined;
  /**
   * Begins to fetch a blob that a manifest of this repository of an upstream names, unless it is
   * stored or on its way; resolves when `find` has it, or there is nothing to begin.
   */
  start?(
    repository: Repository,
    digest: Digest,
    o: { signal?: AbortSignal | undefined },
  ): Promise<void>;
  /**
   * Fetches the first bytes of such a blob, which somebody will probably ask for in a moment; they
   * are dropped if nobody does. Never throws.
   */
  ahead?(repository: Repository, digest: Digest): void;
}
