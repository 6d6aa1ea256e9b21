// A blob on its way into the hub of the test fleet: its bytes come when a test says so.
import { randomBytes } from 'node:crypto';
import { ContentHasher } from '../../proto/chunks/content-hasher.ts';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { signBatch } from '../../proto/chunks/provisional.ts';
import type { ProvisionalRelease, ProvisionalState } from '../../proto/chunks/provisional.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import type { CallOptions } from './ports.ts';

const WAIT_MS = 200;

/** One try of the hub to fetch a blob. */
export class TestSession {
  readonly id = randomBytes(16);
  readonly digest: Digest;
  readonly bytes: Buffer;
  readonly release: ProvisionalRelease;
  state: ProvisionalState = 'running';
  /** Questions for leaves that were asked. */
  asked = 0;
  /** Questions for bytes that wait for them, by where they begin. */
  readonly waiting = new Set<number>();
  readonly #leaves: Buffer;
  #received = 0;
  #news = Promise.withResolvers<void>();

  /** `bytes` are what the upstream sends, whether or not they have the digest. */
  constructor(digest: Digest, bytes: Buffer, release: ProvisionalRelease) {
    this.digest = digest;
    this.bytes = bytes;
    this.release = release;
    const hasher = new ContentHasher();
    hasher.update(bytes);
    this.#leaves = hasher.finish().leaves;
  }

  /** So many leaves have come in all. */
  receive(leaves: number): void {
    this.#received = Math.min(leaves, this.#leaves.length / HASH_BYTES);
    this.#tell();
  }

  end(state: ProvisionalState): void {
    this.state = state;
    this.#tell();
  }

  async batch(from: number | undefined, key: SigningKey, o: CallOptions): Promise<Buffer> {
    this.asked += 1;
    const first = from ?? 0;
    if (from !== undefined && this.#received <= first && this.state === 'running') {
      using limit = deadline(WAIT_MS, o.signal);
      await abortable(this.#news.promise, limit.signal).catch(() => o.signal?.throwIfAborted());
    }
    const isThere = this.#received > first;
    const leaves = this.#leaves.subarray(first * HASH_BYTES, this.#received * HASH_BYTES);
    const { id: session, digest, state, release } = this;
    const batch = { session, digest, size: this.bytes.length, state, release };
    return signBatch({ ...batch, first: isThere ? first : 0, leaves }, key);
  }

  /** Bytes that are here. */
  async part(start: number, end: number, o: CallOptions): Promise<Buffer> {
    this.waiting.add(start);
    try {
      // oxlint-disable-next-line no-await-in-loop -- until they are
      while (this.#received * LEAF_BYTES < end && end < this.bytes.length) {
        await abortable(this.#news.promise, o.signal);
      }
    } finally {
      this.waiting.delete(start);
    }
    return this.bytes.subarray(start, end);
  }

  #tell(): void {
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }
}
