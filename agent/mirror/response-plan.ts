import type { Digest } from '../../proto/oci/digest.ts';
import { formatContentRange, parseRange } from '../../proto/oci/ranges.ts';

/**
 * What is known of the content before a byte is sent. `size` in bytes of the whole. `isStale`: that
 * the name means this content was not confirmed now.
 */
export type ContentFacts = {
  digest: Digest | undefined;
  size: number;
  mediaType: string;
  isStale?: boolean;
};

/** The request headers that shape an answer. */
export type Conditions = {
  method: string;
  range: string | undefined;
  ifRange: string | undefined;
  ifNoneMatch: string | undefined;
};

/** Status line, headers, and the half-open range of bytes that follows; undefined: no body. */
export type ResponsePlan = {
  status: 200 | 206 | 304 | 416;
  headers: Record<string, string | number>;
  body: { start: number; end: number } | undefined;
};

/** RFC 7234 §5.5.1; the agent has no name that the client knows. */
const STALE_WARNING = '110 - "Response is Stale"';

/**
 * Decides on an answer for content that is there (RFC 9110 §13-14): 304 for a matching
 * If-None-Match, 206 for one satisfiable range, 416 for an unsatisfiable one, else 200 with all.
 */
export function planResponse(facts: ContentFacts, conditions: Conditions): ResponsePlan {
  const { digest, size, mediaType } = facts;
  const etag = digest === undefined ? undefined : `"${digest}"`;
  const common: Record<string, string> = {
    'docker-distribution-api-version': 'registry/2.0',
    'accept-ranges': 'bytes',
  };
  if (digest !== undefined) common['docker-content-digest'] = digest;
  if (etag !== undefined) common['etag'] = etag;
  if (facts.isStale === true) common['warning'] = STALE_WARNING;
  if (etag !== undefined && matchesEtag(conditions.ifNoneMatch, etag)) {
    return { status: 304, headers: common, body: undefined };
  }
  const isGet = conditions.method === 'GET';
  const range = isGet && rangeApplies(conditions.ifRange, etag) ? conditions.range : undefined;
  const wanted = parseRange(range, size);
  if (wanted.kind === 'unsatisfiable') {
    const headers = { ...common, 'content-range': `bytes */${size}`, 'content-length': 0 };
    return { status: 416, headers, body: undefined };
  }
  const start = wanted.kind === 'part' ? wanted.start : 0;
  const end = wanted.kind === 'part' ? wanted.end : size;
  const headers: Record<string, string | number> = {
    ...common,
    'content-type': mediaType,
    'content-length': end - start,
  };
  if (wanted.kind === 'part') headers['content-range'] = formatContentRange(start, end, size);
  return {
    status: wanted.kind === 'part' ? 206 : 200,
    headers,
    body: isGet ? { start, end } : undefined,
  };
}

/** If-None-Match compares weakly (RFC 9110 §13.1.2). */
function matchesEtag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === '*') return true;
  return header.split(',').some((item) => item.trim().replace(/^W\//, '') === etag);
}

/** A range is honoured only while the validator still holds; a date never does, we send none. */
function rangeApplies(ifRange: string | undefined, etag: string | undefined): boolean {
  return ifRange === undefined || ifRange.trim() === etag;
}
