import { CAUSES_MAX, MESSAGE_MAX_CHARS } from './constants.ts';

/** An error out of a closed set: `data.code` says which, the rest of `data` says what about it. */
export class CodedError<D extends { code: string }> extends Error {
  readonly data: D;

  constructor(message: string, data: D, options?: { cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.data = data;
  }

  get code(): D['code'] {
    return this.data.code;
  }
}

/** True when the error carries one of these codes, whichever package threw it. */
export function hasCode(err: unknown, ...codes: string[]): boolean {
  if (typeof err !== 'object' || err === null || !('code' in err)) return false;
  return typeof err.code === 'string' && codes.includes(err.code);
}

/** The message of an error and of its causes, of bounded length, for one log line. */
export function messageOf(err: unknown): string {
  const parts: string[] = [];
  let current = err;
  for (let i = 0; i < CAUSES_MAX && current !== undefined && current !== null; i++) {
    const text = current instanceof Error ? ownMessage(current) : textOf(current);
    if (parts.at(-1) !== text) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ').slice(0, MESSAGE_MAX_CHARS);
}

/** A dial that failed at every address says so only in the errors it is made of. */
function ownMessage(err: Error): string {
  if (err.message !== '') return err.message;
  const parts: unknown[] = err instanceof AggregateError ? err.errors.slice(0, CAUSES_MAX) : [];
  const messages = parts.map((part) => (part instanceof Error ? part.message : textOf(part)));
  return messages.length === 0 ? err.name : messages.join('; ');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : 'a value that is no error';
}
