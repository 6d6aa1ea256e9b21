import type { ServerResponse } from 'node:http';
import type { FileSink } from '../fetch/ports.ts';
import { SENDFILE_MAX_BYTES, SENDFILE_REFUSALS_MAX } from './constants.ts';
import type { SendFile } from './sendfile.ts';

/**
 * The connection of a response, for bytes that lie in a file. It takes some only while Node has
 * none of its own to write there; when the connection is full, Node writes the next buffer and so
 * finds out when there is room again.
 *
 * The calls run in threads, on a descriptor of their own: that of Node may be closed meanwhile and
 * be that of another connection.
 */
export class ConnectionSink implements FileSink, Disposable {
  readonly #response: ServerResponse;
  readonly #calls: SendFile;
  readonly #took: (bytes: number) => void;
  /** Aborted when it is over: who waits for a turn then keeps no connection open. */
  readonly #over = new AbortController();
  #connection: number | undefined;
  #isClear = false;
  #isCalling = false;
  #passed = 0;
  #refusals = 0;

  /** undefined when the connection is none of the system, or not a plain one. */
  static of(
    response: ServerResponse,
    calls: SendFile | undefined,
    took: (bytes: number) => void,
  ): ConnectionSink | undefined {
    if (calls === undefined || descriptorOf(response) === undefined) return undefined;
    return new ConnectionSink(response, calls, took);
  }

  private constructor(response: ServerResponse, calls: SendFile, took: (bytes: number) => void) {
    this.#response = response;
    this.#calls = calls;
    this.#took = took;
  }

  async take(file: number, position: number, length: number): Promise<number | undefined> {
    if (!this.#isClear) return 0;
    this.#isClear = false;
    const connection = this.#open();
    if (connection === undefined || this.#refusals >= SENDFILE_REFUSALS_MAX) return undefined;
    const wanted = Math.min(length, SENDFILE_MAX_BYTES);
    const { signal } = this.#over;
    this.#isCalling = true;
    let sent: number;
    try {
      sent = await this.#calls.send(connection, file, { position, length: wanted }, { signal });
    } finally {
      this.#isCalling = false;
      if (signal.aborted) this.#close();
    }
    if (sent <= 0) {
      this.#refusals += 1;
      return 0;
    }
    this.#refusals = 0;
    this.#passed += sent;
    this.#took(sent);
    this.#isClear = sent === wanted;
    return sent;
  }

  /** The system has everything that was written to the response. */
  written(): void {
    this.#isClear = true;
  }

  /** Bytes taken since the last call. */
  drain(): number {
    const passed = this.#passed;
    this.#passed = 0;
    return passed;
  }

  [Symbol.dispose](): void {
    this.#over.abort(new Error('the body is over'));
    if (!this.#isCalling) this.#close();
    // The body is not whole, and with our descriptor open the client would not see Node close its.
    else if (this.#connection !== undefined) this.#calls.shutdown(this.#connection);
  }

  #open(): number | undefined {
    if (this.#over.signal.aborted || this.#response.destroyed) return undefined;
    if (this.#connection !== undefined) return this.#connection;
    const own = descriptorOf(this.#response);
    const descriptor = own === undefined ? -1 : this.#calls.duplicate(own);
    if (descriptor < 0) return undefined;
    this.#connection = descriptor;
    return descriptor;
  }

  #close(): void {
    if (this.#connection === undefined) return;
    this.#calls.close(this.#connection);
    this.#connection = undefined;
  }
}

/**
 * Node shows it nowhere but here. Of a TLS connection there is one as well, but what goes there
 * must be encrypted.
 */
function descriptorOf({ socket }: ServerResponse): number | undefined {
  if (socket === null || 'encrypted' in socket) return undefined;
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null || !('fd' in handle)) return undefined;
  const { fd } = handle;
  return typeof fd === 'number' && fd >= 0 ? fd : undefined;
}
