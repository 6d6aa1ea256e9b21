import { formatByteSize, parseByteSize } from '../../proto/std/byte-size.ts';

/**
 * The bytes that an option of a bench asks for.
 * @throws Error with one sentence that names the option, when it is no size or out of range
 */
export function sizeOption(
  option: string,
  text: string,
  range: { min: number; max: number },
): number {
  const { min, max } = range;
  const takes = `${option} takes a size from ${formatByteSize(min)} to ${formatByteSize(max)}`;
  let bytes: number;
  try {
    bytes = parseByteSize(text);
  } catch (cause) {
    throw new Error(takes, { cause });
  }
  if (bytes < min || bytes > max) throw new Error(`${takes}, not ${text}`);
  return bytes;
}
