import type { Stream, StreamMessageEvent } from '@libp2p/interface';
import { FrameReader } from '../../proto/swarm/frame-codec.ts';
import { abortable } from '../../proto/std/abort.ts';
import { errorOf, PeerError } from './errors.ts';

/** Calls `onSlice` for every slice that arrives, until the stream ends. Nothing is queued here. */
export function onSlices(
  stream: Stream,
  handlers: { slice: (slice: Uint8Array) => void; end: () => void },
): void {
  const onMessage = (event: StreamMessageEvent): void => {
    const { data } = event;
    if (data instanceof Uint8Array) handlers.slice(data);
    else for (const slice of data) handlers.slice(slice);
  };
  let ended = false;
  const finish = (): void => {
    stream.removeEventListener('message', onMessage);
    stream.removeEventListener('close', finish);
    stream.removeEventListener('remoteCloseWrite', finishSoon);
    if (ended) return;
    ended = true;
    handlers.end();
  };
  // Bytes that came with the end, or before this listener, are delivered first.
  const finishSoon = (): void => {
    setImmediate(finish);
  };
  stream.addEventListener('close', finish);
  stream.addEventListener('remoteCloseWrite', finishSoon);
  stream.addEventListener('message', onMessage);
  if (stream.remoteWriteStatus !== 'writable') finishSoon();
}

/**
 * The first frame of a stream. Throws PeerError CLOSED when it ends before, the errors of
 * FrameReader for a frame over `maxBytes`, and the reason of the signal.
 */
export async function readOneFrame(
  stream: Stream,
  options: { maxBytes: number; signal: AbortSignal },
): Promise<Uint8Array> {
  // Room for the length before the payload; anything after the first frame is too much.
  const reader = new FrameReader({
    maxBytes: options.maxBytes,
    bufferMaxBytes: options.maxBytes + 8,
  });
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  onSlices(stream, {
    slice: (slice) => {
      try {
        reader.push(slice);
        const frame = reader.readFrame();
        if (frame) resolve(frame);
      } catch (err) {
        reject(errorOf(err));
      }
    },
    end: () => reject(new PeerError('The stream ended early.', { code: 'CLOSED' })),
  });
  return abortable(promise, options.signal);
}
