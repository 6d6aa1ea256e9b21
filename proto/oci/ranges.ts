/** What a Range header asks of content of a known size; `end` is exclusive. */
export type RangeRequest =
  | { kind: 'whole' }
  | { kind: 'part'; start: number; end: number }
  | { kind: 'unsatisfiable' };

const WHOLE: RangeRequest = { kind: 'whole' };

/**
 * Reads a Range header with one byte range. Malformed headers, other units and several ranges are
 * ignored, which RFC 9110 section 14.2 allows: the answer is the whole content. So it is for empty
 * content, of which no part can be named; some clients send a Range with every request.
 */
export function parseRange(header: string | undefined, size: number): RangeRequest {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(header?.trim() ?? '');
  const first = match?.[1] ?? '';
  const last = match?.[2] ?? '';
  if (!match || (first === '' && last === '') || size === 0) return WHOLE;
  if (first === '') {
    const count = saturated(last);
    if (count === 0) return { kind: 'unsatisfiable' };
    return { kind: 'part', start: Math.max(0, size - count), end: size };
  }
  const start = saturated(first);
  const end = last === '' ? size : Math.min(size, saturated(last) + 1);
  return start < end ? { kind: 'part', start, end } : { kind: 'unsatisfiable' };
}

/** The Content-Range of `[start, end)`, which holds at least one byte. */
export function formatContentRange(start: number, end: number, size: number): string {
  return `bytes ${start}-${end - 1}/${size}`;
}

/** Reads a Content-Range response header; undefined when it is malformed. */
export function parseContentRange(
  header: string,
): { start: number; end: number; size: number | undefined } | undefined {
  return parsePart(/^bytes (\d+)-(\d+)\/(\d+|\*)$/i.exec(header.trim()));
}

/**
 * Reads the Content-Range of a chunked upload, `first-last` (distribution-spec "Pushing a blob in
 * chunks"), or as RFC 9110 has it; undefined when it is malformed.
 */
export function parseUploadRange(header: string): { start: number; end: number } | undefined {
  const range = parsePart(/^(?:bytes )?(\d+)-(\d+)(?:\/(\d+|\*))?$/i.exec(header.trim()));
  return range && { start: range.start, end: range.end };
}

function parsePart(
  match: RegExpExecArray | null,
): { start: number; end: number; size: number | undefined } | undefined {
  if (!match) return undefined;
  const [, first, last, total = '*'] = match;
  const start = Number(first);
  const end = Number(last) + 1;
  const size = total === '*' ? undefined : Number(total);
  const safe = Number.isSafeInteger(end) && Number.isSafeInteger(size ?? 0);
  if (!safe || end <= start || (size !== undefined && end > size)) return undefined;
  return { start, end, size };
}

/** A number of any length, kept where adding one is still exact. */
function saturated(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER - 1);
}
