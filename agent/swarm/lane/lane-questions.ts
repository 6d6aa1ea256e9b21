import { decodeLaneHave, LANE_HAVE_MAX_BYTES, type LaneHead } from '../../../proto/swarm/lane.ts';
import type { PeerAvailability } from '../../fetch/ports.ts';
import { statusError } from '../errors.ts';
import { LANE_QUESTIONS_MAX } from './constants.ts';

type Question = PromiseWithResolvers<PeerAvailability> & { abandoned: boolean };

/** What was asked about holdings on one lane: answered in any order, between two chunks. */
export class LaneQuestions {
  readonly #peerId: string;
  readonly #open = new Map<number, Question>();
  #abandoned = 0;

  constructor(options: { peerId: string }) {
    this.#peerId = options.peerId;
  }

  /** Whether another one is welcome: not when nobody could wait for an answer that is due. */
  get hasRoom(): boolean {
    return this.#abandoned === 0 && this.#open.size < LANE_QUESTIONS_MAX;
  }

  /** Whether an answer is due, whoever still waits for it. */
  get isAsked(): boolean {
    return this.#open.size > 0;
  }

  has(id: number): boolean {
    return this.#open.has(id);
  }

  /** @throws PeerError as the peer answered, or why the lane ended; the reason of the signal */
  async ask(id: number, signal: AbortSignal | undefined): Promise<PeerAvailability> {
    const question: Question = { ...Promise.withResolvers<PeerAvailability>(), abandoned: false };
    this.#open.set(id, question);
    const onAbort = (): void => {
      question.abandoned = true;
      this.#abandoned++;
      question.reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      return await question.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Takes the answer that begins with `head`; returns how many bytes behind the head belong to it,
   * or undefined as long as they are not all there.
   * @throws Error, SwarmError when it is no answer to the question
   */
  take(head: LaneHead, rest: Buffer): number | undefined {
    const { id, status, bodyBytes } = head;
    const question = this.#open.get(id);
    if (question === undefined) throw new Error(`answer ${id} to no question`);
    if (bodyBytes > (status === 'ok' ? LANE_HAVE_MAX_BYTES : 0)) {
      throw new Error(`a body of ${bodyBytes} bytes to a question`);
    }
    if (rest.length < bodyBytes) return undefined;
    const answer = status === 'ok' ? decodeLaneHave(rest.subarray(0, bodyBytes)) : undefined;
    this.#open.delete(id);
    if (question.abandoned) this.#abandoned--;
    if (answer !== undefined) question.resolve(answer);
    else if (status !== 'ok') question.reject(statusError(status, this.#peerId));
    return bodyBytes;
  }

  /** The lane has ended. */
  end(cause: Error): void {
    for (const question of this.#open.values()) question.reject(cause);
    this.#open.clear();
  }
}
