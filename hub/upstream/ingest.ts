import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { CodedError } from '../../proto/std/errors.ts';
import type { BlobReader, OpenBlob } from '../blobs/port.ts';
import { Growth } from './growth.ts';
import type { IngestBytes } from './ingest-bytes.ts';
import type { RunningIngest, UpstreamPolicy } from './port.ts';
import { READ_STALL_MS, READ_WAIT_MAX_MS } from './pull-constants.ts';
import type { Wish } from './wish.ts';

type Outcome = Awaited<RunningIngest['outcome']>;

type IngestOptions = {
  digest: Digest;
  /** Bytes. */
  size: number;
  provisional: UpstreamPolicy['provisional'];
  stallMs?: number | undefined;
  /** That somebody wants it. */
  wish: Wish;
};

type Modules = { bytes: IngestBytes; blobs: Pick<BlobReader, 'open'> };

/** A blob on its way as its readers see it. Whoever fills it tells of growth and of the end. */
export class Ingest implements RunningIngest {
  readonly session: string;
  readonly digest: Digest;
  readonly size: number;
  readonly provisional: UpstreamPolicy['provisional'];
  readonly outcome: Promise<Outcome>;
  readonly wish: Wish;
  readonly #stallMs: number;
  readonly #modules: Modules;
  readonly #growth = new Growth();
  readonly #end = Promise.withResolvers<Outcome>();
  #ended: { outcome: Outcome; reason: unknown } | undefined;
  #isChecked = false;
  #readers = 0;

  constructor(options: IngestOptions, modules: Modules) {
    this.session = modules.bytes.id;
    this.digest = options.digest;
    this.size = options.size;
    this.provisional = options.provisional;
    this.outcome = this.#end.promise;
    this.wish = options.wish;
    this.#stallMs = options.stallMs ?? READ_STALL_MS;
    this.#modules = modules;
  }

  get received(): number {
    if (this.#ended?.outcome === 'stored') return this.size;
    return this.#modules.bytes.readable.end;
  }

  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** Why it failed. */
  get reason(): unknown {
    return this.#ended?.reason;
  }

  /** Those who read it now. */
  get readers(): number {
    return this.#readers;
  }

  leavesFrom(first: number): Buffer {
    return this.#modules.bytes.leavesFrom(first);
  }

  async progress(
    received: number,
    { signal }: { signal?: AbortSignal | undefined },
  ): Promise<void> {
    while (this.received <= received && this.#ended === undefined) {
      await abortable(this.#growth.next, signal);
    }
  }

  want(): void {
    this.wish.make();
  }

  /** More is here. */
  grew(): void {
    this.#growth.tell();
  }

  /** All is here, and has the digest it should have. */
  checked(): void {
    this.#isChecked = true;
    this.#growth.tell();
  }

  /** The last that is told of it. */
  finish(outcome: Outcome, reason?: unknown): void {
    this.#ended ??= { outcome, reason };
    this.#end.resolve(outcome);
    this.#growth.tell();
  }

  async open(o: { signal?: AbortSignal | undefined; checksLeaves?: boolean }): Promise<OpenBlob> {
    const { size } = this;
    this.want();
    this.#readers += 1;
    const own: { stored?: OpenBlob | undefined; closed: boolean } = { closed: false };
    return {
      size,
      isGrowing: true,
      read: async (into, position) => {
        if (position >= size) return 0;
        own.stored ??= await this.#storedBlob();
        if (own.stored !== undefined) return own.stored.read(into, position);
        const got = await this.#read(into, position, o);
        if (got !== undefined) return got;
        own.stored = await this.#storedBlob();
        if (own.stored === undefined) throw this.#failed();
        return own.stored.read(into, position);
      },
      [Symbol.asyncDispose]: async () => {
        if (!own.closed) this.#readers -= 1;
        own.closed = true;
        await own.stored?.[Symbol.asyncDispose]();
      },
    };
  }

  /**
   * Bytes that a reader may have by now. The last leaf waits for the check, so that nobody ever has
   * the whole of a wrong blob; a blob of one leaf is checked as soon as one leaf of any is here.
   */
  #openTo(checksLeaves: boolean): { start: number; end: number } {
    const { start, end } = this.#modules.bytes.readable;
    if (this.#isChecked || checksLeaves) return { start, end };
    const lastLeaf = Math.floor(Math.max(0, this.size - 1) / LEAF_BYTES) * LEAF_BYTES;
    return { start, end: this.provisional === 'swarm-only' ? 0 : Math.min(end, lastLeaf) };
  }

  /** undefined: it has ended well meanwhile, and is to be read as a stored blob. */
  async #read(
    into: Uint8Array,
    position: number,
    { signal, checksLeaves = false }: { signal?: AbortSignal | undefined; checksLeaves?: boolean },
  ): Promise<number | undefined> {
    using limit = deadline(READ_WAIT_MAX_MS, signal);
    for (;;) {
      if (this.#ended?.outcome === 'stored') return undefined;
      if (this.#ended !== undefined) throw this.#failed();
      const { start, end } = this.#openTo(checksLeaves);
      if (position >= start && position < end) {
        const got = await this.#readHere(into.subarray(0, end - position), position);
        if (got > 0) return got;
        if (this.#ended !== undefined) continue;
      }
      using stall = deadline(this.#stallMs, limit.signal);
      await abortable(this.#growth.next, stall.signal);
    }
  }

  /** 0: its bytes are being put into their place. */
  async #readHere(into: Uint8Array, position: number): Promise<number> {
    try {
      return await this.#modules.bytes.read(into, position);
    } catch {
      return 0;
    }
  }

  async #storedBlob(): Promise<OpenBlob | undefined> {
    if (this.#ended?.outcome !== 'stored') return undefined;
    return this.#modules.blobs.open(this.digest);
  }

  #failed(): Error {
    const { outcome, reason } = this.#ended ?? {};
    const cause = { cause: reason };
    if (outcome === 'wrong') {
      return new CodedError(
        `${this.digest} came with other bytes`,
        { code: 'INGEST_WRONG' },
        cause,
      );
    }
    return new CodedError(`${this.digest} did not come`, { code: 'INGEST_FAILED' }, cause);
  }
}
