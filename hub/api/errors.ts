import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { AccessError } from '../access/errors.ts';
import { RETRY_AFTER_S } from '../registry/constants.ts';

const STATUSES = {
  INVALID_BODY: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  EXISTS: 409,
  IN_USE: 409,
  BODY_TOO_LARGE: 413,
  THROTTLED: 429,
  INTERNAL: 500,
  BUSY: 503,
  FLEET_FULL: 503,
  FULL: 503,
} as const;

const INVALID = [
  'INVALID',
  'INVALID_BODY',
  'DIGEST_INVALID',
  'NAME_INVALID',
  'TAG_INVALID',
  'CRON_INVALID',
  'PAGE_UNKNOWN',
  'CRON_INVALID',
  'FST_ERR_CTP_INVALID_MEDIA_TYPE',
];

const IN_USE = ['IN_USE', 'COLLECTING', 'COLLECTED_ELSEWHERE', 'BLOBS_ELSEWHERE', 'PURGED'];

export type ApiCode = keyof typeof STATUSES;

/** A refusal of the administration, as it goes out. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly code: ApiCode;
  readonly retryAfterS: number | undefined;

  constructor(code: ApiCode, message: string, options: { cause?: unknown; waitMs?: number } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    const { waitMs } = options;
    this.retryAfterS = waitMs === undefined ? undefined : Math.ceil(waitMs / 1000);
  }

  get status(): number {
    return STATUSES[this.code];
  }
}

/** What goes out for whatever was thrown; nothing of the inside of the hub. */
export function asApiError(err: unknown): ApiError {
  if (err instanceof ApiError) return err;
  const said = (code: ApiCode): ApiError => new ApiError(code, messageOf(err), { cause: err });
  if (hasCode(err, 'BAD_CREDENTIALS')) {
    return new ApiError('UNAUTHORIZED', 'wrong user name or password', { cause: err });
  }
  if (err instanceof AccessError && err.data.code === 'THROTTLED') {
    return new ApiError('THROTTLED', err.message, { cause: err, waitMs: err.data.waitMs });
  }
  if (hasCode(err, 'BUSY', 'TOO_MANY_SNAPSHOTS')) return said('BUSY');
  if (hasCode(err, 'CATALOG_UNAVAILABLE', 'STORE_AWAY')) {
    const message = 'the catalog or the storage of the hub does not answer now; try again';
    return new ApiError('BUSY', message, { cause: err, waitMs: RETRY_AFTER_S * 1000 });
  }
  if (hasCode(err, 'UNKNOWN', 'NAME_UNKNOWN', 'NOT_IN_QUARANTINE')) return said('NOT_FOUND');
  if (hasCode(err, 'EXISTS')) return said('EXISTS');
  if (hasCode(err, ...IN_USE)) return said('IN_USE');
  if (hasCode(err, 'FULL', 'PURGED_LIMIT', 'QUEUE_FULL')) return said('FULL');
  if (hasCode(err, 'FLEET_FULL')) return said('FLEET_FULL');
  if (hasCode(err, ...INVALID)) return said('INVALID_BODY');
  if (hasCode(err, 'FST_ERR_CTP_BODY_TOO_LARGE')) return said('BODY_TOO_LARGE');
  if (hasCode(err, 'FST_ERR_BAD_URL')) {
    return new ApiError('INVALID_BODY', 'the path is not a well-formed one', { cause: err });
  }
  if (hasCode(err, 'FST_ERR_MAX_PARAM_LENGTH')) {
    return new ApiError('NOT_FOUND', 'no such name: names are shorter', { cause: err });
  }
  return new ApiError('INTERNAL', 'the hub failed; its log says why', { cause: err });
}
