/**
 * Gives the memory of bytes back at once: whoever asks uses them no more, and nobody else does. The
 * collector of garbage comes late to what is outside the JavaScript heap, so that what streams by
 * would fill it. Does nothing to a part of something larger, which others may use.
 */
export function freeBytes({ buffer, byteLength }: Uint8Array): void {
  const isWhole = byteLength > 0 && buffer.byteLength === byteLength;
  if (isWhole && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
