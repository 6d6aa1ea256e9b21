import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { connectionSignal } from '../registry/http.ts';
import { whenSent } from '../registry/large-answers.ts';

/** Lets the routes of a scope read JSON as the bytes that came, and nothing else. */
export function readBytes(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) =>
    done(null, body),
  );
}

/** The body of a request in such a scope. */
export function bytesOf({ body }: FastifyRequest): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

/** Bounds the bytes of the bodies that are read, and kept until their answers are sent. */
export class BodyRoom {
  readonly #bytes: Semaphore;

  constructor(options: { maxBytes: number }) {
    this.#bytes = new Semaphore({ permits: options.maxBytes, queueMax: 0 });
  }

  /**
   * Takes room for a body before it is read: what it says of its length, at most `bodyMaxBytes`.
   * @throws CodedError QUEUE_FULL
   */
  async take(request: FastifyRequest, reply: FastifyReply, bodyMaxBytes: number): Promise<void> {
    const told = Number(request.headers['content-length'] ?? bodyMaxBytes);
    const room = await this.#bytes.acquire({ permits: Math.min(told, bodyMaxBytes) });
    // The sender may have gone already.
    const to = { response: reply.raw, signal: connectionSignal(request.raw) };
    whenSent(to, () => room[Symbol.dispose]());
  }
}

/** What goes out for an error that is no refusal; nothing of the inside of the hub. */
export function failureOf(err: unknown): {
  code: 'INVALID_BODY' | 'BODY_TOO_LARGE' | 'INTERNAL';
  message: string;
} {
  if (
    hasCode(err, 'INVALID_BODY', 'FST_ERR_CTP_INVALID_MEDIA_TYPE', 'FST_ERR_CTP_EMPTY_JSON_BODY')
  ) {
    return { code: 'INVALID_BODY', message: messageOf(err) };
  }
  if (hasCode(err, 'FST_ERR_CTP_BODY_TOO_LARGE')) {
    return { code: 'BODY_TOO_LARGE', message: 'the request is larger than this call allows' };
  }
  return { code: 'INTERNAL', message: 'the hub failed; its log says why' };
}
