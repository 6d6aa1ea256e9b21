import type { Dispatcher } from 'undici';
import { deadline } from '../std/abort.ts';
import { boundedBytes } from '../std/bounded-bytes.ts';
import { hasCode } from '../std/errors.ts';
import { DISCARD_MAX_BYTES, DISCARD_TIMEOUT_MS } from './constants.ts';
import { DistributionError, distributionError } from './errors.ts';

export type Answer = Dispatcher.ResponseData;

/** A header, several lines of it as one list; empty when there is none. */
export function headerOf(answer: Answer, name: string): string {
  const value = answer.headers[name];
  return Array.isArray(value) ? value.join(', ') : (value ?? '');
}

/** The declared length of a body, bytes; undefined when the registry tells none. */
export function lengthOf(answer: Answer): number | undefined {
  const header = headerOf(answer, 'content-length');
  const length = /^\d+$/.test(header) ? Number(header) : undefined;
  return Number.isSafeInteger(length) ? length : undefined;
}

/** Reads a short rest, so that the connection can be used again, or cuts a long or slow one. */
export async function discard(answer: Answer): Promise<void> {
  using limit = deadline(DISCARD_TIMEOUT_MS);
  try {
    await answer.body.dump({ limit: DISCARD_MAX_BYTES, signal: limit.signal });
  } catch {
    // Nobody wants this body; whether it ended well is no matter.
  }
}

/** Cuts an answer whose body nobody may see. */
export function cut(answer: Answer): void {
  answer.body.on('error', () => {}).destroy();
}

/**
 * The body, which must have exactly `length` bytes.
 * @throws DistributionError BODY_SHORT, BODY_LONG, TIMEOUT; the reason of the signal
 */
export async function* exactBody(
  answer: Answer,
  length: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  let got = 0;
  for await (const part of partsOf(answer, signal)) {
    got += part.length;
    if (got > length) {
      throw distributionError({ code: 'BODY_LONG' }, `more than the declared ${length} bytes came`);
    }
    yield part;
  }
  if (got < length) {
    throw distributionError({ code: 'BODY_SHORT' }, `the body ended at byte ${got} of ${length}`);
  }
}

/**
 * The whole body, of at most `maxBytes`.
 * @throws DistributionError TOO_LARGE, BODY_SHORT, TIMEOUT; the reason of the signal
 */
export async function collect(
  answer: Answer,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Buffer> {
  const length = lengthOf(answer);
  if (length !== undefined && length > maxBytes) {
    cut(answer);
    throw tooLarge(maxBytes);
  }
  const body = length === undefined ? partsOf(answer, signal) : exactBody(answer, length, signal);
  return await boundedBytes(body, maxBytes, () => tooLarge(maxBytes));
}

async function* partsOf(
  answer: Answer,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const part of answer.body) {
      if (!Buffer.isBuffer(part)) throw new TypeError('a body gives buffers');
      yield part;
    }
  } catch (err) {
    throw failureOf(err, signal);
  }
}

function failureOf(err: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (err instanceof DistributionError) return err;
  if (hasCode(err, 'UND_ERR_BODY_TIMEOUT')) {
    return distributionError({ code: 'TIMEOUT' }, 'the body came to a standstill', err);
  }
  return distributionError({ code: 'BODY_SHORT' }, 'the body was cut', err);
}

function tooLarge(maxBytes: number): Error {
  return distributionError({ code: 'TOO_LARGE' }, `the answer has more than ${maxBytes} bytes`);
}
