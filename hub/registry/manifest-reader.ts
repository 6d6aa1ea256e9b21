import { ociError } from '../../proto/oci/errors.ts';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { freeBytes } from '../../proto/std/free-bytes.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import {
  LARGE_MANIFESTS_MAX,
  LARGE_MANIFESTS_QUEUED_MAX,
  MANIFEST_SMALL_BYTES,
} from './constants.ts';
import { bytesOf, type Exchange } from './http.ts';

/** A manifest as it was sent. Disposed of when its bytes are no longer needed. */
type ManifestBody = Disposable & { readonly bytes: Buffer };

/**
 * Reads manifests that are pushed. A manifest has to be in memory as a whole, so only a few large
 * ones are taken at a time; the others are left unread in the meantime.
 */
export class ManifestReader {
  readonly #places = new Semaphore({
    permits: LARGE_MANIFESTS_MAX,
    queueMax: LARGE_MANIFESTS_QUEUED_MAX,
  });

  /**
   * @throws OciError MANIFEST_INVALID (413) for more than MANIFEST_MAX_BYTES, UNAVAILABLE when too
   * many large ones wait; the reason of the exchange's signal
   */
  async read({ request, signal }: Exchange): Promise<ManifestBody> {
    if (Number(request.headers['content-length'] ?? 0) > MANIFEST_MAX_BYTES) throw tooLarge();
    using held = new DisposableStack();
    let buffer: Buffer = Buffer.alloc(0);
    let size = 0;
    let hasPlace = false;
    try {
      for await (const part of bytesOf(request)) {
        if (size + part.length > MANIFEST_MAX_BYTES) throw tooLarge();
        buffer = joined(buffer, size, part);
        size += part.length;
        if (size <= MANIFEST_SMALL_BYTES || hasPlace) continue;
        held.use(await this.#place(signal));
        hasPlace = true;
      }
    } catch (err) {
      freeBytes(buffer);
      throw err;
    }
    const bytes = buffer.subarray(0, size);
    const place = held.move();
    return { bytes, [Symbol.dispose]: () => place.dispose() };
  }

  async #place(signal: AbortSignal): Promise<Disposable> {
    try {
      return await this.#places.acquire({ signal });
    } catch (err) {
      if (!hasCode(err, 'QUEUE_FULL')) throw err;
      throw ociError('UNAVAILABLE', 'too many large manifests are being pushed; try again');
    }
  }
}

/** With a part after `size` bytes. Parts by themselves would take far more than their bytes. */
function joined(buffer: Buffer, size: number, part: Buffer): Buffer {
  const end = size + part.length;
  let room = buffer;
  if (end > buffer.length) {
    const wanted = Math.min(MANIFEST_MAX_BYTES, Math.max(end, 2 * buffer.length));
    room = Buffer.allocUnsafeSlow(wanted);
    buffer.copy(room, 0, 0, size);
    freeBytes(buffer);
  }
  part.copy(room, size);
  return room;
}

function tooLarge(): Error {
  return ociError('MANIFEST_INVALID', `a manifest has at most ${MANIFEST_MAX_BYTES} bytes`, {
    status: 413,
  });
}
