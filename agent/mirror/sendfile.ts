import { createRequire } from 'node:module';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { SENDFILE_CALLS_MAX, SENDFILE_CALLS_WAITING_MAX } from './constants.ts';

/** System calls that send a file on a connection without its bytes coming through memory. */
export type SendFile = {
  /** Another descriptor of the same connection; below 0: none to be had. */
  duplicate(connection: number): number;
  close(descriptor: number): void;
  /** Ends the connection for both sides, whatever descriptors of it are open. */
  shutdown(connection: number): void;
  /**
   * sendfile(2): how many bytes from `position` on the connection took at once; below 1 when it
   * took none, whatever the reason. It runs in a thread, since it may wait for a disk. Throws the
   * reason of the signal, which ends the wait for a turn; a call that has begun ends by itself.
   */
  send(
    connection: number,
    file: number,
    range: { position: number; length: number },
    o: { signal: AbortSignal },
  ): Promise<number>;
};

/** What we use of koffi, whose binaries for one platform each are packages of their own. */
type Koffi = {
  load(library: null): { func(prototype: string): NativeCall };
};
type NativeCall = {
  (...args: unknown[]): number;
  async(...args: unknown[]): void;
};

/** fcntl(2): the lowest free descriptor for the same open file, closed on exec. */
const F_DUPFD_CLOEXEC = 1030;
/** For shutdown(2): neither reading nor writing any more. */
const SHUT_RDWR = 2;

/**
 * Node.js has no sendfile(2), so it is called by way of koffi.
 * @throws Error when this platform has no such call or koffi no binary for it
 */
export function loadSendFile(): SendFile {
  const koffi: Koffi = createRequire(import.meta.url)(`@koromix/koffi-linux-${process.arch}`);
  const library = koffi.load(null);
  const sendfile = library.func('intptr_t sendfile(int out, int in, int64_t *at, size_t count)');
  const fcntl = library.func('int fcntl(int fd, int command, ...)');
  const close = library.func('int close(int fd)');
  const shutdown = library.func('int shutdown(int fd, int how)');
  const turns = new Semaphore({
    permits: SENDFILE_CALLS_MAX,
    queueMax: SENDFILE_CALLS_WAITING_MAX,
  });
  return {
    duplicate: (connection) => fcntl(connection, F_DUPFD_CLOEXEC, 'int', 0),
    close: (descriptor) => void close(descriptor),
    shutdown: (connection) => void shutdown(connection, SHUT_RDWR),
    send: async (connection, file, { position, length }, { signal }) => {
      using turn = await turns.acquire({ signal });
      void turn;
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      const done = (err: Error | null, sent: number): void => {
        if (err === null) resolve(sent);
        else reject(err);
      };
      sendfile.async(connection, file, [position], length, done);
      // Not the promise itself: the turn lasts until the call has ended.
      return await promise;
    },
  };
}
