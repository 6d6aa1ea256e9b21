import { AdminError, isPassing } from '../../proto/ops/join-token-request.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { pause } from '../backup/blob-copy.ts';
import { ATTEMPTS_MAX } from '../backup/constants.ts';

/** Another request is still at work on the same upload. */
const BUSY_STATUS = 409;

/** Tries again, with pauses, while the hub is away or busy. @throws what the last try has thrown */
export async function patiently<T>(
  work: () => Promise<T>,
  { signal, say }: { signal: AbortSignal; say?: ((text: string) => void) | undefined },
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next try is for when this one failed
      return await work();
    } catch (err) {
      signal.throwIfAborted();
      if (!(isPassing(err) || isBusy(err)) || attempt >= ATTEMPTS_MAX) throw err;
      say?.(`${messageOf(err)}; trying again`);
    }
    // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next try
    await pause(attempt, signal);
  }
}

/** As when the client before was killed a moment ago. */
export function isBusy(err: unknown): boolean {
  return err instanceof AdminError && 'status' in err.data && err.data.status === BUSY_STATUS;
}
