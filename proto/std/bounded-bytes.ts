/**
 * The whole of a body of at most `maxBytes`. A longer one is cut off, and what `tooLong` makes is
 * thrown.
 */
export async function boundedBytes(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  tooLong: () => Error = () => new Error(`the answer is longer than ${maxBytes} bytes`),
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > maxBytes) throw tooLong();
    parts.push(part);
  }
  return Buffer.concat(parts, size);
}
