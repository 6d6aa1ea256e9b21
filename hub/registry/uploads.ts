import { isDigest, isDigestAlgorithm, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { parseUploadRange } from '../../proto/oci/ranges.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { BlobReader, BlobWriter } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import { BufferMemory } from './buffer-memory.ts';
import {
  MOUNT_SOURCES_MAX,
  UPLOAD_BATCH_BYTES,
  UPLOAD_BATCH_MIN_BYTES,
  UPLOAD_SWEEP_MS,
  UPLOADS_MEMORY_BYTES,
} from './constants.ts';
import { bytesOf, send, tooLarge, type Exchange } from './http.ts';
import { keepBlob } from './keep-blob.ts';
import type { RegistryMetrics } from './metrics.ts';
import type { HeldUpload, OpenUploads } from './open-uploads.ts';
import type { UploadSession } from './upload-session.ts';
import type { UploadTarget } from './upload-store.ts';

type Modules = {
  blobs: Pick<BlobReader, 'stat'> & Pick<BlobWriter, 'sizeMax'>;
  catalog: Pick<Catalog, 'pinBlob' | 'addBlob' | 'linkBlob' | 'blobIn' | 'repositoriesWith'>;
  open: OpenUploads;
  /** May who asks pull from this repository? */
  mayPull: (exchange: Exchange, repository: Repository) => Promise<boolean>;
  /** Who asks; uploads are theirs alone. */
  subjectOf: (exchange: Exchange) => Promise<string>;
  metrics: () => RegistryMetrics;
};
type Target = { repository: Repository; session: string };

/** Blob uploads in every style of the distribution-spec, "Pushing blobs". */
export class Uploads {
  readonly #modules: Modules;
  readonly #memory = new BufferMemory({
    totalBytes: UPLOADS_MEMORY_BYTES,
    minBytes: UPLOAD_BATCH_MIN_BYTES,
    maxBytes: UPLOAD_BATCH_BYTES,
  });
  readonly #sweeper: NodeJS.Timeout;
  #sweeping: Promise<void> | undefined;

  constructor(modules: Modules) {
    this.#modules = modules;
    this.#sweeper = setInterval(() => this.#sweep(), UPLOAD_SWEEP_MS);
    this.#sweeper.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    await this.#sweeping;
  }

  /** POST: mounts, takes a whole blob, or opens an upload. */
  async start(exchange: Exchange, repository: Repository): Promise<void> {
    const { query, signal } = exchange;
    const { open, subjectOf } = this.#modules;
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
    const subject = await subjectOf(exchange);
    if (expected === undefined) {
      const target = await open.create({ repository, subject });
      return this.#progress(exchange, target, 0, 202);
    }
    this.#checkSize(exchange, 0);
    // Nobody is told where this upload is: it cannot go on.
    await open.nameless(subject, async (session) => {
      await this.#receive(exchange, session);
      const commit = () => session.commit(expected, async () => Buffer.alloc(0));
      await keepBlob({ repository, digest: expected }, commit, { signal, ...this.#modules });
    });
    this.#created(exchange, repository, expected);
  }

  /** GET: how far the upload is. */
  async status(exchange: Exchange, route: Target): Promise<void> {
    const target = await this.#targetOf(exchange, route);
    this.#progress(exchange, target, await this.#modules.open.size(target), 204);
  }

  /** PATCH: a chunk with Content-Range, or a stream without. */
  async patch(exchange: Exchange, route: Target): Promise<void> {
    const target = await this.#targetOf(exchange, route);
    const size = await this.#modules.open.exclusively(target, async (upload) => {
      await this.#append(exchange, target, upload);
      return upload.session.size;
    });
    this.#progress(exchange, target, size, 202);
  }

  /** PUT: the last bytes, if any, and the digest of all. */
  async put(exchange: Exchange, route: Target): Promise<void> {
    const target = await this.#targetOf(exchange, route);
    const { open } = this.#modules;
    const { signal } = exchange;
    const digest = checkedDigest(exchange.query.get('digest') ?? '');
    await open.exclusively(target, async (upload) => {
      await this.#append(exchange, target, upload);
      upload.outcome = 'drop';
      try {
        const commit = () => upload.session.commit(digest, () => open.leaves(target.id));
        await keepBlob({ ...target, digest }, commit, { signal, ...this.#modules });
      } catch (err) {
        if (upload.session.lost || hasCode(err, 'STORE_AWAY')) upload.outcome = 'undo';
        throw err;
      }
    });
    this.#created(exchange, route.repository, digest);
  }

  /** DELETE: forgets the upload. */
  async cancel(exchange: Exchange, route: Target): Promise<void> {
    const target = await this.#targetOf(exchange, route);
    await this.#modules.open.exclusively(target, async (upload) => {
      upload.outcome = 'drop';
    });
    send(exchange, 204, {});
  }

  /**
   * A client that goes away keeps its upload; a store that fails ends it, and so does a body that
   * is not the chunk it says it is. While the store is away the upload stays where it was.
   */
  async #append(exchange: Exchange, target: UploadTarget, upload: HeldUpload): Promise<void> {
    const { request, signal } = exchange;
    const { session } = upload;
    const end = this.#endOfChunk(exchange, target, session);
    this.#checkSize(exchange, session.size);
    upload.outcome = 'keep';
    let arrived = false;
    try {
      await this.#receive(exchange, session);
      arrived = true;
      if (end !== undefined && session.size !== end) {
        throw ociError('BLOB_UPLOAD_INVALID', 'Content-Range is not that of the body');
      }
    } catch (err) {
      const interrupted = signal.aborted || request.errored !== null;
      if (session.lost || hasCode(err, 'STORE_AWAY')) upload.outcome = 'undo';
      else if (arrived || session.broken || !interrupted) upload.outcome = 'drop';
      throw err;
    }
  }

  /** Refuses a body that the storage has no room for in one blob, before it is sent. */
  #checkSize({ request }: Exchange, size: number): void {
    const { sizeMax } = this.#modules.blobs;
    if (size + Number(request.headers['content-length'] ?? 0) <= sizeMax) return;
    throw tooLarge(sizeMax);
  }

  /** Chunks come in order: the next one begins where the last one ended. */
  #endOfChunk(
    { request, response }: Exchange,
    target: UploadTarget,
    { size }: UploadSession,
  ): number | undefined {
    const header = request.headers['content-range'];
    if (header === undefined) return undefined;
    const range = parseUploadRange(header);
    const length = request.headers['content-length'];
    if (!range || (length !== undefined && Number(length) !== range.end - range.start)) {
      throw ociError('BLOB_UPLOAD_INVALID', 'Content-Range is not that of the body');
    }
    if (range.start === size) return range.end;
    response.setHeader('range', rangeOf(size));
    response.setHeader('location', locationOf(target));
    throw ociError('RANGE_INVALID', `the upload goes on at byte ${size}`);
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

  async #targetOf(exchange: Exchange, { repository, session }: Target): Promise<UploadTarget> {
    return { id: session, repository, subject: await this.#modules.subjectOf(exchange) };
  }

  #progress(exchange: Exchange, target: UploadTarget, size: number, status: number): void {
    send(exchange, status, {
      location: locationOf(target),
      range: rangeOf(size),
      'docker-upload-uuid': target.id,
    });
  }

  #created(exchange: Exchange, repository: string, digest: string): void {
    const location = `/v2/${repository}/blobs/${digest}`;
    send(exchange, 201, { location, 'docker-content-digest': digest });
  }

  async #receive({ request }: Exchange, session: UploadSession): Promise<void> {
    const { receivedBytes } = this.#modules.metrics();
    const onBytes = (count: number): void => receivedBytes.inc(count);
    using memory = this.#memory.enter();
    await session.append(bytesOf(request), onBytes, () => memory.share);
  }

  #sweep(): void {
    this.#sweeping ??= this.#modules.open.sweep().finally(() => {
      this.#sweeping = undefined;
    });
  }
}

function checkedDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw ociError('DIGEST_INVALID', 'the digest parameter is missing or not a supported digest');
}

// A path: clients keep their credentials for the host they asked, whatever its other names are.
function locationOf({ repository, id }: UploadTarget): string {
  return `/v2/${repository}/blobs/uploads/${id}`;
}

function rangeOf(size: number): string {
  return `0-${Math.max(0, size - 1)}`;
}
