import { timesExactly } from './decimal.ts';
import { CodedError } from './errors.ts';

const UNITS: readonly [name: string, bytes: number][] = [
  ['TiB', 1024 ** 4],
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
  ['TB', 1000 ** 4],
  ['GB', 1000 ** 3],
  ['MB', 1000 ** 2],
  ['kB', 1000],
  ['B', 1],
];

/**
 * Bytes of a size such as `512MiB` (binary), `10GB` (decimal), `1.5GiB` or plain `4096`.
 * @throws CodedError SIZE_INVALID unless it comes to a whole, safe number of bytes
 */
export function parseByteSize(text: string): number {
  const match = /^(\d{1,16}(?:\.\d{1,6})?)\s?([A-Za-z]{0,3})$/.exec(text.trim());
  const unit = match?.[2]?.toLowerCase() ?? '';
  const factor = unit === '' ? 1 : UNITS.find(([name]) => name.toLowerCase() === unit)?.[1];
  const bytes = timesExactly(match?.[1] ?? '', factor ?? Number.NaN);
  if (!Number.isSafeInteger(bytes)) {
    throw new CodedError(`"${text}" is not a size; write 512MiB, 10GB or 4096`, {
      code: 'SIZE_INVALID',
      text,
    });
  }
  return bytes;
}

/** A size for people, in the largest binary unit that leaves at most two decimals. */
export function formatByteSize(bytes: number): string {
  for (const [name, factor] of UNITS) {
    if (!name.includes('i') || bytes < factor) continue;
    return `${Number((bytes / factor).toFixed(2))}${name}`;
  }
  return `${bytes}B`;
}
