import { isDigest, isDigestAlgorithm, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { parseUploadRange } from '../../proto/oci/ranges.ts';
import type { BlobReader, BlobWriter } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import { MOUNT_SOURCES_MAX, UPLOAD_IDLE_MS, UPLOAD_SWEEP_MS } from './constants.ts';
import { bytesOf, send, type Exchange } from './http.ts';
import type { RegistryMetrics } from './metrics.ts';
import { UploadSession } from './upload-session.ts';

export type UploadOptions = {
  /** Uploads that may be open at the same time. */
  uploadsMax: number;
};

type Modules = {
  blobs: BlobWriter & Pick<BlobReader, 'stat'>;
  catalog: Pick<Catalog, 'addBlob' | 'linkBlob' | 'blobIn' | 'repositoriesWith'>;
  /** May who asks pull from this repository? */
  mayPull: (exchange: Exchange, repository: Repository) => Promise<boolean>;
  metrics: () => RegistryMetrics;
};
type Target = { repository: Repository; session: string };

/** Blob uploads in every style of the distribution-spec, "Pushing blobs". */
export class Uploads {
  readonly #options: UploadOptions;
  readonly #modules: Modules;
  readonly #sessions = new Map<string, UploadSession>();
  readonly #sweeper: NodeJS.Timeout;
  /** Uploads whose file is being made. */
  #opening = 0;

  constructor(options: UploadOptions, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
    this.#sweeper = setInterval(() => void this.#sweep(), UPLOAD_SWEEP_MS);
    this.#sweeper.unref();
  }

  get open(): number {
    return this.#sessions.size;
  }

  close(): void {
    clearInterval(this.#sweeper);
  }

  /** POST: mounts, takes a whole blob, or opens an upload. */
  async start(exchange: Exchange, repository: Repository): Promise<void> {
    const { query } = exchange;
    const mount = query.get('mount');
    if (mount !== null && (await this.#mount(exchange, repository, mount))) {
      return this.#created(exchange, repository, mount);
    }
    const algorithm = query.get('digest-algorithm');
    if (algorithm !== null && !isDigestAlgorithm(algorithm)) {
      throw ociError('DIGEST_INVALID', 'digest-algorithm is neither sha256 nor sha512');
    }
    const digest = query.get('digest');
    const expected = digest === null ? undefined : checkedDigest(digest);
    const session = await this.#begin(repository);
    if (expected === undefined) return this.#progress(exchange, session, 202);
    try {
      await session.exclusively(() => this.#finish(exchange, session, expected));
    } finally {
      // Nobody was told where this upload is: it cannot go on.
      await this.#drop(session);
    }
  }

  /** GET: how far the upload is. */
  status(exchange: Exchange, target: Target): void {
    const session = this.#find(target);
    session.lastUsedMs = Date.now();
    this.#progress(exchange, session, 204);
  }

  /** PATCH: a chunk with Content-Range, or a stream without. */
  async patch(exchange: Exchange, target: Target): Promise<void> {
    const session = this.#find(target);
    await session.exclusively(async () => {
      await this.#append(exchange, session);
      this.#progress(exchange, session, 202);
    });
  }

  /** PUT: the last bytes, if any, and the digest of all. */
  async put(exchange: Exchange, target: Target): Promise<void> {
    const session = this.#find(target);
    const digest = checkedDigest(exchange.query.get('digest') ?? '');
    await session.exclusively(() => this.#finish(exchange, session, digest));
  }

  /** DELETE: forgets the upload. */
  async cancel(exchange: Exchange, target: Target): Promise<void> {
    const session = this.#find(target);
    await session.exclusively(() => this.#drop(session));
    send(exchange, 204, {});
  }

  async #begin(repository: Repository): Promise<UploadSession> {
    const { uploadsMax } = this.#options;
    if (this.#sessions.size + this.#opening >= uploadsMax) {
      throw ociError('TOOMANYREQUESTS', `${uploadsMax} uploads are open; try again later`);
    }
    this.#opening += 1;
    try {
      const session = new UploadSession(repository, await this.#modules.blobs.begin());
      this.#sessions.set(session.id, session);
      return session;
    } finally {
      this.#opening -= 1;
    }
  }

  async #finish(exchange: Exchange, session: UploadSession, digest: Digest): Promise<void> {
    await this.#append(exchange, session);
    try {
      const blob = await session.commit(digest);
      await this.#modules.catalog.addBlob(blob, session.repository);
    } finally {
      await this.#drop(session);
    }
    this.#created(exchange, session.repository, digest);
  }

  /**
   * A client that goes away keeps its upload; a store that fails ends it, and so does a body that
   * is not the chunk it says it is.
   */
  async #append(exchange: Exchange, session: UploadSession): Promise<void> {
    const { request, signal } = exchange;
    const { receivedBytes } = this.#modules.metrics();
    const end = this.#endOfChunk(exchange, session);
    try {
      await session.append(bytesOf(request), (count) => receivedBytes.inc(count));
      if (end !== undefined && session.size !== end) {
        throw ociError('BLOB_UPLOAD_INVALID', 'Content-Range is not that of the body');
      }
    } catch (err) {
      const interrupted = signal.aborted || request.errored !== null;
      if (session.broken || !interrupted) await this.#drop(session);
      throw err;
    }
  }

  /** Chunks come in order: the next one begins where the last one ended. */
  #endOfChunk({ request, response }: Exchange, session: UploadSession): number | undefined {
    const header = request.headers['content-range'];
    if (header === undefined) return undefined;
    const range = parseUploadRange(header);
    const length = request.headers['content-length'];
    if (!range || (length !== undefined && Number(length) !== range.end - range.start)) {
      throw ociError('BLOB_UPLOAD_INVALID', 'Content-Range is not that of the body');
    }
    if (range.start === session.size) return range.end;
    response.setHeader('range', rangeOf(session));
    response.setHeader('location', this.#locationOf(session));
    throw ociError('RANGE_INVALID', `the upload goes on at byte ${session.size}`);
  }

  async #mount(exchange: Exchange, repository: Repository, mount: string): Promise<boolean> {
    if (!isDigest(mount)) return false;
    const { blobs, catalog } = this.#modules;
    const known = await this.#mountable(exchange, repository, mount);
    if (known === undefined || (await blobs.stat(mount))?.size !== known.size) return false;
    return catalog.linkBlob(repository, mount);
  }

  /**
   * A blob that this repository has, or the one it is to be mounted from; when none is named, any
   * that who asks may pull from.
   */
  async #mountable(
    exchange: Exchange,
    repository: Repository,
    digest: Digest,
  ): Promise<{ size: number } | undefined> {
    const { catalog, mayPull } = this.#modules;
    const own = await catalog.blobIn(repository, digest);
    if (own) return own;
    const from = exchange.query.get('from');
    const others =
      from === null ? await catalog.repositoriesWith(digest, MOUNT_SOURCES_MAX) : [from];
    for (const other of others.map(parseRepository)) {
      // oxlint-disable-next-line no-await-in-loop -- the first that will do
      if (!(await mayPull(exchange, other))) continue;
      // oxlint-disable-next-line no-await-in-loop -- the first that will do
      const known = await catalog.blobIn(other, digest);
      if (known) return known;
    }
    return undefined;
  }

  #find({ repository, session: id }: Target): UploadSession {
    const session = this.#sessions.get(id);
    if (session?.repository === repository) return session;
    throw ociError('BLOB_UPLOAD_UNKNOWN', 'no such upload; start it again');
  }

  #progress(exchange: Exchange, session: UploadSession, status: number): void {
    send(exchange, status, {
      location: this.#locationOf(session),
      range: rangeOf(session),
      'docker-upload-uuid': session.id,
    });
  }

  #created(exchange: Exchange, repository: string, digest: string): void {
    const location = `/v2/${repository}/blobs/${digest}`;
    send(exchange, 201, { location, 'docker-content-digest': digest });
  }

  // A path: clients keep their credentials for the host they asked, whatever its other names are.
  #locationOf({ repository, id }: UploadSession): string {
    return `/v2/${repository}/blobs/uploads/${id}`;
  }

  async #drop(session: UploadSession): Promise<void> {
    this.#sessions.delete(session.id);
    await session.discard();
  }

  async #sweep(): Promise<void> {
    const oldest = Date.now() - UPLOAD_IDLE_MS;
    const idle = [...this.#sessions.values()].filter((s) => !s.busy && s.lastUsedMs < oldest);
    await Promise.all(idle.map((session) => this.#drop(session)));
  }
}

function checkedDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw ociError('DIGEST_INVALID', 'the digest parameter is missing or not a supported digest');
}

function rangeOf(session: UploadSession): string {
  return `0-${Math.max(0, session.size - 1)}`;
}
