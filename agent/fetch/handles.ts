import { layoutOf } from '../../proto/chunks/layout.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { Semaphore } from '../../proto/std/semaphore.ts';
import type { FetcherModules } from './chunk-fetcher.ts';
import { readDirect, readUnstated } from './direct.ts';
import { fetchError } from './errors.ts';
import type {
  BlobHandle,
  CallOptions,
  FileSink,
  HubSource,
  OpenRequest,
  ReadOptions,
} from './ports.ts';
import { checkRange, readSupply } from './supply.ts';
import type { ReadModules, Supply } from './supply.ts';

type Range = { start: number; end: number };

/** Codes of the store after which a reader goes on past the store. */
const STORE_GONE = ['DISK_FULL', 'STORE_FULL', 'EVICTED', 'IO', 'CORRUPT', 'NOT_VERIFIED'];

/** A blob that is in memory, checked. */
export function bufferHandle(bytes: Buffer): BlobHandle {
  return {
    size: bytes.length,
    // eslint-disable-next-line typescript/require-await
    async *read(range: Range) {
      checkRange(range, bytes.length);
      if (range.start < range.end) yield bytes.subarray(range.start, range.end);
    },
    [Symbol.dispose]: () => {},
  };
}

/**
 * A blob out of a supply. When the store fails under it, the rest of a range is read by `past`,
 * which proves every chunk, so that nothing is mixed that should not be.
 */
export function supplyHandle(
  supply: Supply,
  reading: ReadModules & { logger: Logger },
  past?: BlobHandle,
): BlobHandle {
  const hold = supply.hold();
  return {
    size: supply.size,
    async *read(range: Range, o: ReadOptions) {
      let at = range.start;
      const sink = o.sink && counted(o.sink, (bytes) => (at += bytes));
      try {
        for await (const bytes of readSupply(supply, range, reading, { ...o, sink })) {
          at += bytes.length;
          yield bytes;
        }
        return;
      } catch (err) {
        o.signal?.throwIfAborted();
        if (past === undefined || !hasCode(err, ...STORE_GONE)) throw err;
        const fields = { digest: supply.digest, reason: messageOf(err) };
        reading.logger.warn(fields, 'the store fails a reader, going on without it');
      }
      yield* past.read({ start: at, end: range.end }, o);
    },
    [Symbol.dispose]: () => {
      hold[Symbol.dispose]();
      past?.[Symbol.dispose]();
    },
  };
}

/** A blob with a statement, read from the hub chunk by chunk for one reader. */
export function directHandle(
  request: OpenRequest,
  blob: { digest: Digest; size: number; hashes: Buffer },
  modules: FetcherModules & { logger: Logger },
  readers: Semaphore,
): BlobHandle {
  const proof = { digest: blob.digest, layout: layoutOf(blob.size), hashes: blob.hashes };
  return {
    size: blob.size,
    async *read(range: Range, o: CallOptions) {
      const place = await placeFor(readers, o);
      try {
        yield* readDirect(proof, request.repository, range, modules, o);
      } finally {
        place[Symbol.dispose]();
      }
    },
    [Symbol.dispose]: () => {},
  };
}

/** A blob without a statement, read from one connection for one reader. */
export function unstatedHandle(
  blob: { request: OpenRequest; size: number; source: HubSource },
  readers: Semaphore,
): BlobHandle {
  const { request, size, source } = blob;
  const { digest, repository } = request;
  return {
    size,
    async *read(range: Range, o: CallOptions) {
      const place = await placeFor(readers, o);
      try {
        yield* readUnstated(source, repository, { digest, size }, range, o);
      } finally {
        place[Symbol.dispose]();
      }
    },
    [Symbol.dispose]: () => {},
  };
}

function counted(sink: FileSink, took: (bytes: number) => void): FileSink {
  return {
    take: async (...bytes) => {
      const taken = await sink.take(...bytes);
      took(taken ?? 0);
      return taken;
    },
  };
}

async function placeFor(readers: Semaphore, o: CallOptions): Promise<Disposable> {
  try {
    return await readers.acquire(o.signal === undefined ? {} : { signal: o.signal });
  } catch (err) {
    if (!hasCode(err, 'QUEUE_FULL')) throw err;
    throw fetchError('FULL', 'the store has no room, and enough readers are served past it');
  }
}
