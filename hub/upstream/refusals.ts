import { ociError, OciError } from '../../proto/oci/errors.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { BlobStoreError } from '../blobs/errors.ts';
import { CatalogError } from '../catalog/errors.ts';
import { UpstreamAway } from '../registry/pull-through.ts';
import { UpstreamError } from './errors.ts';
import { AWAY_RETRY_MS } from './pull-constants.ts';

const REFUSED = ['REFUSED', 'NOT_ALLOWED', 'AUTH_FAILED'];

/** Faults of this hub, and answers that are for the client as they are. */
function isOwn(err: unknown): boolean {
  if (err instanceof OciError || err instanceof CatalogError) return true;
  return err instanceof BlobStoreError || (err instanceof Error && err.name === 'AbortError');
}

/** Whether something older may be answered: the upstream is away, slow, busy or out of order. */
export function isAway(err: unknown): boolean {
  return err instanceof UpstreamAway || !(isOwn(err) || hasCode(err, ...REFUSED));
}

/** How a client is told that an upstream gave no answer; faults of our own stay what they are. */
export function refusalOf(err: unknown, upstream: string, nowMs: number): unknown {
  if (isOwn(err)) return err;
  if (hasCode(err, ...REFUSED)) {
    const message = `${upstream} does not have this, or does not let this hub have it`;
    return ociError('NAME_UNKNOWN', message, { cause: err });
  }
  if (hasCode(err, 'QUEUE_FULL')) {
    return ociError('UNAVAILABLE', messageOf(err), { cause: err });
  }
  const told = err instanceof UpstreamError && 'retryAtMs' in err.data ? err.data.retryAtMs : null;
  const retryAtMs = told ?? nowMs + AWAY_RETRY_MS;
  const at = new Date(retryAtMs).toISOString();
  const what = hasCode(err, 'RATE_LIMITED')
    ? `${upstream} allows no more pulls until ${at}`
    : `${upstream} gives no usable answer, it is asked again from ${at} on`;
  const retryAfterS = Math.max(1, Math.ceil((retryAtMs - nowMs) / 1000));
  return new UpstreamAway(what, { retryAfterS, cause: err });
}
