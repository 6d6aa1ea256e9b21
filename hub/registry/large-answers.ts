import type { ServerResponse } from 'node:http';
import { ociError } from '../../proto/oci/errors.ts';
import { LARGE_ANSWERS_MAX_BYTES, LARGE_ANSWER_BYTES } from './constants.ts';

/**
 * Runs `release` once: when the last byte of the answer has left, or the client is gone. A response
 * that waits behind another one (pipelining) never learns of the end of its connection.
 */
export function whenSent(
  { response, signal }: { response: ServerResponse; signal: AbortSignal },
  release: () => void,
): void {
  const once = (): void => {
    response.off('close', once);
    signal.removeEventListener('abort', once);
    release();
  };
  response.once('close', once);
  signal.addEventListener('abort', once, { once: true });
  if (signal.aborted) once();
}

/** Bounds the memory of answers that are in memory as a whole and that clients have yet to take. */
export class LargeAnswers {
  readonly #maxBytes: number;
  #held = 0;

  constructor(options: { maxBytes?: number } = {}) {
    this.#maxBytes = options.maxBytes ?? LARGE_ANSWERS_MAX_BYTES;
  }

  get held(): number {
    return this.#held;
  }

  /**
   * Counts an answer until it is sent. Small ones are not counted, and there is room for one,
   * whatever its size.
   * @throws OciError UNAVAILABLE
   */
  hold(bytes: number, to: { response: ServerResponse; signal: AbortSignal }): void {
    if (bytes <= LARGE_ANSWER_BYTES) return;
    if (this.#held > 0 && this.#held + bytes > this.#maxBytes) {
      throw ociError('UNAVAILABLE', 'too many large answers are being taken slowly; try again');
    }
    this.#held += bytes;
    whenSent(to, () => {
      this.#held -= bytes;
    });
  }
}
