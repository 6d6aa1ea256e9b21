import { deadline } from '../../../proto/std/abort.ts';
import { hasCode } from '../../../proto/std/errors.ts';
import { Semaphore } from '../../../proto/std/semaphore.ts';
import { BlobStoreError } from '../errors.ts';
import { PART_BUFFER_WAIT_MS, PART_BUFFERS_BYTES, PART_BUFFERS_QUEUED_MAX } from './constants.ts';

const UNIT_BYTES = 1024 * 1024;

/** Memory for one part, until it is disposed of. */
export type PartBuffer = Disposable & { readonly bytes: Buffer };

/** Memory of the parts of all uploads, given in the order it is asked for. */
export class PartBuffers {
  readonly #units = new Semaphore({
    permits: PART_BUFFERS_BYTES / UNIT_BYTES,
    queueMax: PART_BUFFERS_QUEUED_MAX,
  });
  /** Used before, of one size each; their number is bounded by that of the units. */
  readonly #idle: Buffer[] = [];

  /** @throws BlobStoreError STORE_AWAY when there is none for too long */
  async take(size: number): Promise<PartBuffer> {
    const permits = Math.ceil(size / UNIT_BYTES);
    using limit = deadline(PART_BUFFER_WAIT_MS);
    let held: Disposable;
    try {
      held = await this.#units.acquire({ permits, signal: limit.signal });
    } catch (err) {
      if (!hasCode(err, 'TIMEOUT', 'QUEUE_FULL')) throw err;
      const reason = 'too many uploads at once';
      const message = `blob storage takes no more now: ${reason}`;
      throw new BlobStoreError(message, { code: 'STORE_AWAY', path: 's3', reason }, { cause: err });
    }
    const bytes = this.#reused(size) ?? Buffer.allocUnsafeSlow(size);
    let given = true;
    return {
      bytes,
      [Symbol.dispose]: () => {
        if (!given) return;
        given = false;
        this.#idle.push(bytes);
        held[Symbol.dispose]();
      },
    };
  }

  /** A buffer of this size; those of other sizes make room. */
  #reused(size: number): Buffer | undefined {
    const found = this.#idle.pop();
    if (found?.length === size) return found;
    this.#idle.length = 0;
    return undefined;
  }
}
