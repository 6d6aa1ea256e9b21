import { CodedError } from '../../proto/std/errors.ts';

/**
 * Why the mirror does not answer with content.
 *
 * - BAD_REQUEST (400): the request itself is wrong.
 * - NOT_FOUND (404): not here, or not under this name; the runtime goes on to its next host.
 * - UNSUPPORTED (404): a method or route a mirror does not have.
 * - UNAUTHORIZED (401): the registry behind us wants credentials; its challenge is passed on.
 * - UNAVAILABLE (503): we cannot tell now; the runtime goes on to its next host.
 * - STALLED, SHORT_BODY, LONG_BODY: a body broke off after its headers; the connection is cut.
 */
export type MirrorErrorData =
  | { code: 'BAD_REQUEST'; reason: string }
  | { code: 'NOT_FOUND'; what: 'namespace' | 'manifest' | 'blob' | 'stalled' }
  | { code: 'UNSUPPORTED'; what: string }
  | { code: 'UNAUTHORIZED'; challenge: string | undefined }
  | { code: 'UNAVAILABLE'; reason: UnavailableReason }
  | { code: 'STALLED'; side: 'source' | 'client'; afterMs: number }
  | { code: 'SHORT_BODY'; expected: number; sent: number }
  | { code: 'LONG_BODY'; expected: number };

/**
 * `unreachable`: the registry did not answer at all; `busy`: it refused for now; `upstream`: so
 * does the registry behind it, as it says; `source`: it answered with something of no use.
 */
export type UnavailableReason =
  | 'draining'
  | 'overloaded'
  | 'timeout'
  | 'unreachable'
  | 'busy'
  | 'upstream'
  | 'source'
  | 'content';

export class MirrorError extends CodedError<MirrorErrorData> {
  override readonly name = 'MirrorError';
}

/** 404 in the words of the OCI specification. */
export function notFound(what: 'namespace' | 'manifest' | 'blob' | 'stalled'): MirrorError {
  return new MirrorError(NOT_FOUND_MESSAGES[what], { code: 'NOT_FOUND', what });
}

export function unavailable(
  reason: UnavailableReason,
  message: string,
  options?: { cause?: unknown },
): MirrorError {
  return new MirrorError(message, { code: 'UNAVAILABLE', reason }, options);
}

const NOT_FOUND_MESSAGES = {
  namespace: 'this mirror does not serve that registry; add it to upstreams or hub.names',
  manifest: 'manifest is not known under this name',
  blob: 'blob is not known under this name',
  stalled: 'no source delivered this blob; ask the next host',
} as const;
