import type { OpenBlob } from '../blobs/port.ts';

/** Bytes from some position of a blob on, over one connection. */
export type OpenStream = {
  body: AsyncIterable<Buffer>;
  /** Nobody reads it any more. */
  close(): void;
};

/** Opens `[start, end)` of a blob. */
export type StreamOpener = (range: { start: number; end: number }) => Promise<OpenStream>;

/** A blob that is read in order out of a connection, without being stored here. */
export class PassedOnBlob implements OpenBlob {
  readonly size: number;
  readonly isGrowing = true;
  readonly #open: StreamOpener;
  readonly #closed: () => void;
  #stream: OpenStream | undefined;
  #parts: AsyncIterator<Buffer> | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #at = -1;
  #end: number;

  /** `closed` is called once, when it is disposed of. */
  constructor(size: number, modules: { open: StreamOpener; closed?: () => void }) {
    this.size = size;
    this.#end = size;
    this.#open = modules.open;
    this.#closed = modules.closed ?? (() => undefined);
  }

  async expect({ end }: { start: number; end: number }): Promise<boolean> {
    this.#end = end;
    return true;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    if (position >= this.size) return 0;
    if (position !== this.#at) await this.#moveTo(position);
    while (this.#rest.length === 0) {
      const next = await this.#parts?.next();
      if (next === undefined || next.done === true) {
        throw new Error(`the blob broke off at byte ${position}`);
      }
      this.#rest = next.value;
    }
    const part = this.#rest.subarray(0, into.length);
    into.set(part);
    this.#rest = this.#rest.subarray(part.length);
    this.#at += part.length;
    return part.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stream?.close();
    this.#stream = undefined;
    this.#closed();
  }

  async #moveTo(position: number): Promise<void> {
    this.#stream?.close();
    this.#stream = undefined;
    const end = position < this.#end ? this.#end : this.size;
    this.#stream = await this.#open({ start: position, end });
    this.#parts = this.#stream.body[Symbol.asyncIterator]();
    this.#rest = Buffer.alloc(0);
    this.#at = position;
  }
}
