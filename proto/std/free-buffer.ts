/**
 * Gives the memory of a buffer back now, not when garbage is collected: that may be long after the
 * last chunk. Nobody may hold the buffer or a part of it, which is empty from here on.
 */
export function freeBuffer(buffer: Buffer<ArrayBuffer>): void {
  buffer.buffer.transfer(0);
}
