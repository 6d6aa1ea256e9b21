import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { parseUploadRange } from '../../proto/oci/ranges.ts';
import type { BlobWriter } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import { UPLOAD_IDLE_MS, UPLOAD_SWEEP_MS, UPLOADS_MAX } from './constants.ts';
import { bytesOf, send, type Exchange } from './http.ts';
import type { RegistryMetrics } from './metrics.ts';
import { UploadSession } from './upload-session.ts';

type Modules = {
  blobs: BlobWriter;
  catalog: Pick<Catalog, 'addBlob' | 'linkBlob' | 'blobIn'>;
  metrics: () => RegistryMetrics;
};
type Target = { repository: Repository; session: string };

/** Blob uploads in every style of the distribution-spec, "Pushing blobs". */
export class Uploads {
  readonly #modules: Modules;
  readonly #sessions = new Map<string, UploadSession>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(modules: Modules) {
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
    if (mount !== null && (await this.#mount(repository, mount, query.get('from')))) {
      return created(exchange, repository, mount);
    }
    const digest = query.get('digest');
    const expected = digest === null ? undefined : checkedDigest(digest);
    if (this.#sessions.size >= UPLOADS_MAX) {
      throw ociError('TOOMANYREQUESTS', `${UPLOADS_MAX} uploads are open; try again later`);
    }
    const session = new UploadSession(repository, await this.#modules.blobs.begin());
    this.#sessions.set(session.id, session);
    using _claim = session.claim();
    if (expected === undefined) return progress(exchange, session, 202);
    await this.#finish(exchange, session, expected);
  }

  /** GET: how far the upload is. */
  status(exchange: Exchange, target: Target): void {
    progress(exchange, this.#find(target), 204);
  }

  /** PATCH: a chunk with Content-Range, or a stream without. */
  async patch(exchange: Exchange, target: Target): Promise<void> {
    const session = this.#find(target);
    using _claim = session.claim();
    checkOrder(exchange, session);
    await this.#append(exchange, session);
    progress(exchange, session, 202);
  }

  /** PUT: the last bytes, if any, and the digest of all. */
  async put(exchange: Exchange, target: Target): Promise<void> {
    const session = this.#find(target);
    using _claim = session.claim();
    const digest = checkedDigest(exchange.query.get('digest') ?? '');
    checkOrder(exchange, session);
    await this.#finish(exchange, session, digest);
  }

  /** DELETE: forgets the upload. */
  async cancel(exchange: Exchange, target: Target): Promise<void> {
    const session = this.#find(target);
    using _claim = session.claim();
    await this.#drop(session);
    send(exchange, 204, {});
  }

  async #finish(exchange: Exchange, session: UploadSession, digest: Digest): Promise<void> {
    await this.#append(exchange, session);
    try {
      const blob = await session.commit(digest);
      await this.#modules.catalog.addBlob(blob, session.repository);
    } finally {
      await this.#drop(session);
    }
    created(exchange, session.repository, digest);
  }

  /** A client that goes away keeps its upload; a store that fails ends it. */
  async #append({ request, signal }: Exchange, session: UploadSession): Promise<void> {
    const { receivedBytes } = this.#modules.metrics();
    try {
      await session.append(bytesOf(request), (count) => receivedBytes.inc(count));
    } catch (err) {
      if (!signal.aborted && !request.errored) await this.#drop(session);
      throw err;
    }
  }

  async #mount(repository: Repository, mount: string, from: string | null): Promise<boolean> {
    if (!isDigest(mount)) return false;
    const { catalog } = this.#modules;
    if (await catalog.blobIn(repository, mount)) return true;
    if (from === null || !(await catalog.blobIn(parseRepository(from), mount))) return false;
    return catalog.linkBlob(repository, mount);
  }

  #find({ repository, session: id }: Target): UploadSession {
    const session = this.#sessions.get(id);
    if (session?.repository === repository) return session;
    throw ociError('BLOB_UPLOAD_UNKNOWN', 'no such upload; start it again');
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

/** Chunks come in order: the next one begins where the last one ended. */
function checkOrder({ request, response }: Exchange, session: UploadSession): void {
  const header = request.headers['content-range'];
  if (header === undefined) return;
  const range = parseUploadRange(header);
  const length = Number(request.headers['content-length'] ?? Number.NaN);
  const fits = range !== undefined && (Number.isNaN(length) || length === range.end - range.start);
  if (!fits) throw ociError('BLOB_UPLOAD_INVALID', 'Content-Range is not that of the body');
  if (range.start === session.size) return;
  response.setHeader('range', `0-${Math.max(0, session.size - 1)}`);
  response.setHeader('location', locationOf(session));
  throw ociError('RANGE_INVALID', `the upload goes on at byte ${session.size}`);
}

function progress(exchange: Exchange, session: UploadSession, status: number): void {
  send(exchange, status, {
    location: locationOf(session),
    range: `0-${Math.max(0, session.size - 1)}`,
    'docker-upload-uuid': session.id,
  });
}

function created(exchange: Exchange, repository: string, digest: string): void {
  const location = `/v2/${repository}/blobs/${digest}`;
  send(exchange, 201, { location, 'docker-content-digest': digest });
}

function locationOf(session: UploadSession): string {
  return `/v2/${session.repository}/blobs/uploads/${session.id}`;
}
