import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { abortable } from '../../proto/std/abort.ts';

const READ_BYTES = 1024 * 1024;
const HEAD_MAX_BYTES = 16 * 1024;
const SILENCE_MS = 60_000;
const HEAD_END = '\r\n\r\n';

/** Where a body is and from which byte on it is wanted. */
export type BodyRequest = { origin: string; path: string; offset: number };

type Head = { status: number; length: number };

/**
 * Reads what is behind a plain HTTP address, part by part as the system hands it over, and resolves
 * when all of it has come. A measuring client must cost little, or it takes the processors from
 * what it measures; so this reads into one buffer again and again. `onPart` must not keep a part.
 *
 * @throws Error for another status than 200, or 206 from an offset on, for a body that ends early
 * or is silent for a minute; the reason of the signal
 */
export async function readBody(
  request: BodyRequest,
  onPart: (part: Buffer) => void,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const { origin, path, offset } = request;
  const { hostname, host, port } = new URL(origin);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const reader = new BodyReader(offset > 0 ? 206 : 200, onPart);
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const socket: Socket = connect({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port === '' ? 80 : port),
    onread: {
      buffer,
      callback: (count) => {
        try {
          reader.take(buffer.subarray(0, count));
          if (reader.isDone) resolve();
        } catch (err) {
          reject(err instanceof Error ? err : new Error(String(err)));
        }
        return !reader.isDone;
      },
    },
  });
  socket.once('connect', () => {
    const range = offset > 0 ? `Range: bytes=${offset}-\r\n` : '';
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${range}Connection: close${HEAD_END}`);
  });
  socket.setTimeout(SILENCE_MS, () => reject(new Error(`no byte for ${SILENCE_MS} ms`)));
  socket.once('error', reject);
  socket.once('close', () => reject(new Error('the connection ended early')));
  try {
    await abortable(promise, signal);
  } finally {
    socket.destroy();
  }
}

/** Head and body of one answer. */
class BodyReader {
  readonly #status: number;
  readonly #onPart: (part: Buffer) => void;
  #head = Buffer.alloc(0);
  #left: number | undefined;

  constructor(status: number, onPart: (part: Buffer) => void) {
    this.#status = status;
    this.#onPart = onPart;
  }

  get isDone(): boolean {
    return this.#left === 0;
  }

  take(bytes: Buffer): void {
    if (this.#left !== undefined) return this.#body(bytes);
    this.#head = Buffer.concat([this.#head, bytes]);
    const end = this.#head.indexOf(HEAD_END);
    if (end < 0) {
      if (this.#head.length > HEAD_MAX_BYTES) throw new Error('the head has no end');
      return undefined;
    }
    const { status, length } = parseHead(this.#head.toString('latin1', 0, end));
    if (status !== this.#status) throw new Error(`answered ${status}`);
    this.#left = length;
    return this.#body(this.#head.subarray(end + HEAD_END.length));
  }

  #body(bytes: Buffer): void {
    const left = (this.#left ?? 0) - bytes.length;
    if (left < 0) throw new Error('the body is longer than the head says');
    this.#left = left;
    if (bytes.length > 0) this.#onPart(bytes);
  }
}

function parseHead(text: string): Head {
  const status = Number(/^HTTP\/1\.1 (\d{3})(?: |$)/.exec(text)?.[1]);
  const length = Number(/^content-length: *(\d+) *$/im.exec(text)?.[1] ?? Number.NaN);
  if (Number.isNaN(status)) throw new Error('this is not an answer in HTTP/1.1');
  if (status < 300 && Number.isNaN(length)) throw new Error('the head tells no length');
  return { status, length };
}
