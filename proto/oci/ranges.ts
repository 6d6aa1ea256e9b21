/** What a Range header asks of content of a known size; `end` is exclusive. */
export type RangeRequest =
  | { kind: 'whole' }
  | { kind: 'part'; start: number; end: number }
  | { kind: 'unsatisfiable' };

const NUMBER_MAX_DIGITS = 15;

/**
 * Reads a Range header with one byte range. Malformed headers, other units and several ranges are
 * ignored, which RFC 9110 section 14.2 allows: the answer is the whole content.
 */
export function parseRange(header: string | undefined, size: number): RangeRequest {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  const first = match?.[1] ?? '';
  const last = match?.[2] ?? '';
  if (!match || (first === '' && last === '')) return { kind: 'whole' };
  if (first === '') {
    const count = clamp(last);
    if (count === 0 || size === 0) return { kind: 'unsatisfiable' };
    return { kind: 'part', start: Math.max(0, size - count), end: size };
  }
  const start = clamp(first);
  const end = last === '' ? size : clamp(last) + 1;
  if (start >= size || end <= start) return { kind: 'unsatisfiable' };
  return { kind: 'part', start, end: Math.min(end, size) };
}

export function formatContentRange(start: number, end: number, size: number): string {
  return `bytes ${start}-${end - 1}/${size}`;
}

/** Reads a Content-Range response header; undefined when it is malformed. */
export function parseContentRange(
  header: string,
): { start: number; end: number; size: number | undefined } | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(header.trim());
  if (!match) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]) + 1;
  const size = match[3] === '*' ? undefined : Number(match[3]);
  if (end <= start || (size !== undefined && end > size)) return undefined;
  return { start, end, size };
}

/** Reads the Content-Range of a chunked upload, `first-last`; undefined when it is malformed. */
export function parseUploadRange(header: string): { start: number; end: number } | undefined {
  const match = /^(?:bytes )?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(header.trim());
  if (!match) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]) + 1;
  return end <= start ? undefined : { start, end };
}

function clamp(digits: string): number {
  return digits.length > NUMBER_MAX_DIGITS ? 10 ** NUMBER_MAX_DIGITS : Number(digits);
}
