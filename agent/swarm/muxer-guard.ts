import type {
  MessageStream,
  Stream,
  StreamMessageEvent,
  StreamMuxerFactory,
} from '@libp2p/interface';
import {
  CONNECTION_WRITE_BUFFER_MAX_BYTES,
  MUXER_FRAME_MAX_BYTES,
  PRE_HELLO_MAX_BYTES,
} from './constants.ts';
import { errorOf, PeerError } from './errors.ts';
import type { CountRefusals } from './metrics.ts';

const HEADER_BYTES = 12;
const TYPE_OFFSET = 1;
const FLAGS_OFFSET = 2;
const STREAM_ID_OFFSET = 4;
const LENGTH_OFFSET = 8;
const DATA_FRAME = 0;
const WINDOW_FRAME = 1;
const OPENS_STREAM = 1;
const NONE: readonly number[] = [];

/**
 * Watches the yamux frames of one connection before the muxer sees them. The muxer collects a data
 * frame until all of it is there and takes its 32-bit length on trust; it answers pings and resets
 * to a peer that never reads. Both would let a stranger fill our memory.
 */
class FrameWatch {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerFilled = 0;
  #bodyLeft = 0;
  #received = 0;
  #budget: number = PRE_HELLO_MAX_BYTES;
  #asked: number[] = [];

  /** Ids of the streams that the frames since the last call opened, or asked to open. */
  takeAsked(): readonly number[] {
    if (this.#asked.length === 0) return NONE;
    const asked = this.#asked;
    this.#asked = [];
    return asked;
  }

  admit(): void {
    this.#budget = Number.POSITIVE_INFINITY;
  }

  /** Throws PeerError PROTOCOL when the peer goes beyond a limit. */
  check(slice: Uint8Array): void {
    this.#received += slice.length;
    if (this.#received > this.#budget) {
      throw new PeerError(`More than ${PRE_HELLO_MAX_BYTES} bytes before the hello.`, {
        code: 'PROTOCOL',
      });
    }
    let at = 0;
    while (at < slice.length) {
      if (this.#bodyLeft > 0) {
        const skipped = Math.min(this.#bodyLeft, slice.length - at);
        this.#bodyLeft -= skipped;
        at += skipped;
        continue;
      }
      const wanted = Math.min(HEADER_BYTES - this.#headerFilled, slice.length - at);
      this.#header.set(slice.subarray(at, at + wanted), this.#headerFilled);
      this.#headerFilled += wanted;
      at += wanted;
      if (this.#headerFilled === HEADER_BYTES) this.#onHeader();
    }
  }

  #onHeader(): void {
    this.#headerFilled = 0;
    const type = this.#header[TYPE_OFFSET];
    const opens = (this.#header.readUInt16BE(FLAGS_OFFSET) & OPENS_STREAM) !== 0;
    if (opens && (type === DATA_FRAME || type === WINDOW_FRAME)) {
      this.#asked.push(this.#header.readUInt32BE(STREAM_ID_OFFSET));
    }
    if (type !== DATA_FRAME) return;
    const length = this.#header.readUInt32BE(LENGTH_OFFSET);
    if (length > MUXER_FRAME_MAX_BYTES) {
      throw new PeerError(
        `A frame claims ${length} bytes; at most ${MUXER_FRAME_MAX_BYTES} are taken.`,
        { code: 'PROTOCOL' },
      );
    }
    this.#bodyLeft = length;
  }
}

export interface MuxerGuard {
  /** Wraps a yamux factory so that every connection it muxes is watched. */
  wrap(factory: StreamMuxerFactory): StreamMuxerFactory;
  /** Lifts the byte budget of a connection whose hello passed. `streams`: of that connection. */
  admit(streams: readonly Stream[]): void;
}

/** Bounds what a connection can make the muxer hold, before and after its hello. */
export function createMuxerGuard(modules: { refused: CountRefusals }): MuxerGuard {
  const { refused } = modules;
  // A libp2p connection shows the very array of its muxer, which is what links the two here.
  const watches = new WeakMap<readonly Stream[], FrameWatch>();
  return {
    wrap(factory) {
      return {
        protocol: factory.protocol,
        [Symbol.toStringTag]: 'guarded-yamux',
        createStreamMuxer(connection: MessageStream) {
          const watch = new FrameWatch();
          connection.maxWriteBufferLength = CONNECTION_WRITE_BUFFER_MAX_BYTES;
          const onMessage = (event: StreamMessageEvent): void => {
            try {
              const data = event.data;
              if (data instanceof Uint8Array) watch.check(data);
              else for (const slice of data) watch.check(slice);
            } catch (err) {
              refused('flood');
              connection.abort(errorOf(err));
            }
          };
          // The muxer resets what is over its bound and tells nobody.
          const countRefused = (): void => {
            const asked = watch.takeAsked();
            if (asked.length === 0) return;
            const held = new Set(muxer.streams.map((stream) => stream.id));
            const over = asked.filter((id) => !held.has(String(id))).length;
            if (over > 0) refused('streams', over);
          };
          // Attached first, so it runs before the muxer's own listener.
          connection.addEventListener('message', onMessage);
          const muxer = factory.createStreamMuxer(connection);
          connection.addEventListener('message', countRefused);
          watches.set(muxer.streams, watch);
          return muxer;
        },
      };
    },
    admit(streams) {
      watches.get(streams)?.admit();
    },
  };
}
