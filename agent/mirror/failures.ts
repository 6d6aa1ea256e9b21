import { DistributionError } from '../../proto/distribution/errors.ts';
import { CAUSES_MAX } from '../../proto/std/constants.ts';
import { awayHeader } from '../../proto/distribution/upstream-away.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { ociErrorBody, OciError } from '../../proto/oci/errors.ts';
import { CHALLENGE_MAX_CHARS } from './constants.ts';
import { MirrorError } from './errors.ts';

/** The statuses a runtime reacts to sanely; 408 and 429 would make it come back at once. */
export type FailureStatus = 400 | 401 | 404 | 503;

/** A failure as it goes out: never a status outside the list, never a text of the network. */
export type Failure = {
  status: FailureStatus;
  headers: Record<string, string>;
  body: string;
  /** For the log: what the operator can do. */
  remedy: string;
  /** Whether somebody ought to look; the runtime's own way round and a drain are daily life. */
  level: 'warn' | 'debug';
};

const REMEDIES = {
  400: 'the client sent a malformed request',
  401: 'the registry wants credentials from this client',
  404: 'the client goes on to its next host; nothing to do unless the image exists',
  503: 'the client goes on to its next host; look whether hub and upstreams can be reached',
} as const;

const OVERLOADED_REMEDY =
  'the client goes on to its next host; raise mirror.requestsMax if it recurs';

const CODES = { 400: 'UNSUPPORTED', 401: 'UNAUTHORIZED', 404: 'UNKNOWN', 503: 'UNAVAILABLE' };

/**
 * Maps whatever was thrown before the headers to an answer. `upstream` is the host of the one that
 * was asked for, here or behind the hub.
 */
export function failureOf(err: unknown, upstream?: string): Failure {
  const status = statusOf(err);
  const headers: Record<string, string> = {
    'docker-distribution-api-version': 'registry/2.0',
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
  };
  const challenge = status === 401 ? challengeOf(err) : undefined;
  if (challenge !== undefined) headers['www-authenticate'] = challenge;
  const later = status === 503 ? laterOf(err) : {};
  const { retryAfterS, away } = later;
  if (retryAfterS !== undefined) headers['retry-after'] = String(retryAfterS);
  if (away !== undefined) Object.assign(headers, awayHeader(away));
  const reason = err instanceof MirrorError && 'reason' in err.data ? err.data.reason : undefined;
  return {
    status,
    headers,
    body: laterBody(upstream, later) ?? bodyOf(err, status),
    remedy: reason === 'overloaded' ? OVERLOADED_REMEDY : REMEDIES[status],
    level: status === 503 && reason !== 'draining' ? 'warn' : 'debug',
  };
}

function statusOf(err: unknown): FailureStatus {
  if (err instanceof MirrorError) return mirrorStatus(err);
  if (err instanceof OciError) {
    const { status } = err;
    if (status === 401) return 401;
    if (status === 403 || status === 404 || status === 405) return 404;
    return status >= 400 && status < 500 && status !== 408 && status !== 429 ? 400 : 503;
  }
  // A full cache is no outage: the runtime is better served by its next host.
  return hasCode(err, 'NOT_FOUND', 'FULL') ? 404 : 503;
}

function mirrorStatus(err: MirrorError): FailureStatus {
  switch (err.data.code) {
    case 'BAD_REQUEST':
      return 400;
    case 'UNAUTHORIZED':
      // Without a challenge a runtime could not act on a 401.
      return challengeOf(err) === undefined ? 404 : 401;
    case 'NOT_FOUND':
    case 'UNSUPPORTED':
      return 404;
    default:
      return 503;
  }
}

function challengeOf(err: unknown): string | undefined {
  if (!(err instanceof MirrorError) || err.data.code !== 'UNAUTHORIZED') return undefined;
  const { challenge } = err.data;
  if (challenge === undefined || challenge.length > CHALLENGE_MAX_CHARS) return undefined;
  return /^[\t\x20-\x7e]+$/.test(challenge) ? challenge : undefined;
}

function bodyOf(err: unknown, status: FailureStatus): string {
  if (err instanceof OciError) return JSON.stringify(ociErrorBody(err));
  const message =
    err instanceof MirrorError ? err.message : 'the content cannot be delivered by this mirror now';
  return JSON.stringify({ errors: [{ code: codeOf(err, status), message }] });
}

/** What the registry behind us says of when to come back. */
type Later = { retryAfterS?: number; away?: string };

function laterOf(err: unknown): Later {
  let each = err;
  for (let depth = 0; depth < CAUSES_MAX && each instanceof Error; depth += 1) {
    if (each instanceof DistributionError && each.data.code === 'HTTP_STATUS') return each.data;
    each = each.cause;
  }
  return {};
}

/** In its own words, where it means a registry behind it. undefined: it says nothing. */
function laterBody(upstream: string | undefined, { retryAfterS, away }: Later): string | undefined {
  if (retryAfterS === undefined && away === undefined) return undefined;
  const who = upstream ?? 'the registry behind this mirror';
  const message = away ?? `${who} gives nothing new at the moment; try again in ${retryAfterS} s`;
  return JSON.stringify({ errors: [{ code: CODES[503], message }] });
}

function codeOf(err: unknown, status: FailureStatus): string {
  if (err instanceof MirrorError) {
    if (err.data.code === 'UNSUPPORTED') return 'UNSUPPORTED';
    if (err.data.code === 'NOT_FOUND') return NOT_FOUND_CODES[err.data.what];
  }
  return CODES[status];
}

const NOT_FOUND_CODES = {
  namespace: 'NAME_UNKNOWN',
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  stalled: 'BLOB_UNKNOWN',
} as const;
