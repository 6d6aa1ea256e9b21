import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { BATCH_MAX_BYTES, PROVISIONAL_HEADER } from '../../proto/chunks/provisional.ts';
import { STATEMENT_MAX_BYTES } from '../../proto/chunks/statement.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import { freeBuffer } from '../../proto/std/free-buffer.ts';
import { fetchError } from './errors.ts';
import type { FetchMetrics } from './metrics.ts';
import type { CallOptions, ChunkBytes, HubSource, ShownOptions, SourceStream } from './ports.ts';

/** What is needed of a registry client; every read checks status, range and encoding itself. */
export interface RegistryReads {
  headBlob(
    repository: Repository,
    digest: Digest,
    o: ShownOptions,
  ): Promise<{ size: number } | undefined>;
  openBlob(
    repository: Repository,
    digest: Digest,
    o: ShownOptions & { start?: number; end?: number; headers?: Record<string, string> },
  ): Promise<{ size: number; body: AsyncIterable<Buffer> } | undefined>;
  readBlob(
    repository: Repository,
    digest: Digest,
    o: ShownOptions & { maxBytes: number },
  ): Promise<Buffer | undefined>;
  getManifest(
    repository: Repository,
    reference: Reference,
    o: ShownOptions,
  ): Promise<{ bytes: Buffer } | undefined>;
  getBytes(path: string, o: ShownOptions & { maxBytes: number }): Promise<Buffer | undefined>;
}

/**
 * Reads blobs of the hub, or of an upstream, over the registry protocol and counts the bytes. What
 * streams keeps to the budget; who asks for a chunk has taken it out of there, and small blobs do
 * not wait.
 */
export class RegistrySource implements HubSource {
  readonly kind: 'hub' | 'upstream';
  readonly #client: RegistryReads;
  readonly #metrics: FetchMetrics;
  readonly #budget: RateBudget | undefined;
  readonly #authorizationOf: (repository: Repository) => string | undefined;

  constructor(
    options: { kind: 'hub' | 'upstream' },
    modules: {
      client: RegistryReads;
      metrics: FetchMetrics;
      /** What the source may take of the link; undefined: as fast as it goes. */
      budget?: RateBudget | undefined;
      /** What the node shows to read a repository; undefined: nothing. */
      authorizationOf?: ((repository: Repository) => string | undefined) | undefined;
    },
  ) {
    this.kind = options.kind;
    this.#client = modules.client;
    this.#metrics = modules.metrics;
    this.#budget = modules.budget;
    this.#authorizationOf = modules.authorizationOf ?? (() => undefined);
  }

  head(
    repository: Repository,
    digest: Digest,
    o: CallOptions,
  ): Promise<{ size: number } | undefined> {
    return this.#client.headBlob(repository, digest, this.#shown(repository, o));
  }

  async statement(
    repository: Repository,
    digest: Digest,
    o: CallOptions,
  ): Promise<Buffer | undefined> {
    if (this.kind === 'upstream') return undefined;
    const path = `/v2/${repository}/_flotilla/chunks/statement/${digest}`;
    const shown = this.#shown(repository, o);
    return this.#client.getBytes(path, { ...shown, maxBytes: STATEMENT_MAX_BYTES });
  }

  async hashes(
    repository: Repository,
    digest: Digest,
    maxBytes: number,
    o: CallOptions,
  ): Promise<Buffer | undefined> {
    if (this.kind === 'upstream') return undefined;
    const path = `/v2/${repository}/_flotilla/chunks/hashes/${digest}`;
    return this.#client.getBytes(path, { ...this.#shown(repository, o), maxBytes });
  }

  async provisional(
    repository: Repository,
    digest: Digest,
    from: number | undefined,
    o: CallOptions,
  ): Promise<Buffer | undefined> {
    if (this.kind === 'upstream') return undefined;
    const query = from === undefined ? '' : `?from=${from}`;
    const path = `/v2/${repository}/_flotilla/chunks/provisional/${digest}${query}`;
    const shown = this.#shown(repository, o);
    return this.#client.getBytes(path, { ...shown, maxBytes: BATCH_MAX_BYTES });
  }

  async ahead(repository: Repository, digest: Digest, o: CallOptions): Promise<void> {
    if (this.kind === 'upstream') return;
    const path = `/v2/${repository}/_flotilla/chunks/ahead/${digest}`;
    await this.#client.getBytes(path, { ...this.#shown(repository, o), maxBytes: 0 });
  }

  async chunk(
    repository: Repository,
    digest: Digest,
    range: { start: number; end: number },
    {
      signal,
      provisional = false,
      seen,
    }: CallOptions & { provisional?: boolean; seen?: ((piece: Buffer) => void) | undefined },
  ): Promise<ChunkBytes> {
    const response = await this.#client.openBlob(repository, digest, {
      ...this.#shown(repository, { signal }),
      ...range,
      ...(provisional ? { headers: { [PROVISIONAL_HEADER]: 'leaves' } } : {}),
    });
    if (response === undefined) throw fetchError('NOT_FOUND', `${digest} is not there`, digest);
    const bytes = Buffer.allocUnsafeSlow(range.end - range.start);
    let filled = 0;
    for await (const piece of response.body) {
      this.#count(piece.length);
      if (filled + piece.length > bytes.length) {
        throw fetchError('BROKEN', `more than the asked range of ${digest} was sent`, digest);
      }
      filled += piece.copy(bytes, filled);
      seen?.(piece);
    }
    if (filled === bytes.length) return { bytes, [Symbol.dispose]: () => freeBuffer(bytes) };
    throw fetchError('BROKEN', `a range of ${digest} ended after ${filled} bytes`, digest);
  }

  async stream(
    repository: Repository,
    digest: Digest,
    start: number,
    o: CallOptions,
  ): Promise<SourceStream | undefined> {
    const from = start === 0 ? {} : { start };
    const response = await this.#client.openBlob(repository, digest, {
      ...this.#shown(repository, o),
      ...from,
    });
    if (response === undefined) return undefined;
    return { size: response.size, body: this.#counted(response.body, o) };
  }

  async small(
    repository: Repository,
    digest: Digest,
    kind: 'manifest' | 'blob',
    o: CallOptions,
  ): Promise<Buffer | undefined> {
    const shown = this.#shown(repository, o);
    const maxBytes = UNCHUNKED_MAX_BYTES;
    const bytes =
      kind === 'manifest'
        ? (await this.#client.getManifest(repository, { kind: 'digest', digest }, shown))?.bytes
        : await this.#client.readBlob(repository, digest, { ...shown, maxBytes });
    this.#count(bytes?.length ?? 0);
    this.#budget?.take(bytes?.length ?? 0);
    return bytes;
  }

  #shown(repository: Repository, o: CallOptions): ShownOptions {
    const authorization = this.#authorizationOf(repository);
    return authorization === undefined ? o : { ...o, authorization };
  }

  async *#counted(
    body: AsyncIterable<Buffer>,
    o: CallOptions,
  ): AsyncGenerator<Buffer, void, undefined> {
    for await (const piece of body) {
      this.#count(piece.length);
      await this.#budget?.pass(piece.length, o);
      yield piece;
    }
  }

  #count(bytes: number): void {
    this.#metrics.bytes.inc({ source: this.kind }, bytes);
  }
}
