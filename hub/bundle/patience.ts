import { AdminError, isPassing } from '../../proto/ops/join-token-request.ts';
import { formatDuration } from '../../proto/std/duration.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { longestPauseMs, pause } from '../backup/blob-copy.ts';
import { ATTEMPTS_MAX } from '../backup/constants.ts';

/** Another request is still at work on the same upload. */
const BUSY_STATUS = 409;

/** Tells why a work with many requests does not go on, once until something goes well again. */
export class Outage {
  readonly #say: (text: string) => void;
  #told = '';

  constructor(modules: { say: (text: string) => void }) {
    this.#say = modules.say;
  }

  failed(reason: string, { attempt }: { attempt: number }): void {
    if (reason === this.#told) return;
    this.#told = reason;
    const left = ATTEMPTS_MAX - attempt;
    const times = `${left} more time${left === 1 ? '' : 's'}`;
    this.#say(`${reason}; trying ${times}, with pauses of ${pausesText(attempt)} in all at most`);
  }

  over(): void {
    this.#told = '';
  }
}

/** Tries again, with pauses, while the hub is away or busy. @throws what the last try has thrown */
export async function patiently<T>(
  work: () => Promise<T>,
  { signal, outage }: { signal: AbortSignal; outage: Outage },
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- the next try is for when this one failed
      const done = await work();
      outage.over();
      return done;
    } catch (err) {
      signal.throwIfAborted();
      if (!(isPassing(err) || isBusy(err)) || attempt >= ATTEMPTS_MAX) throw err;
      outage.failed(messageOf(err), { attempt });
    }
    // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next try
    await pause(attempt, signal);
  }
}

/** As when the client before was killed a moment ago. */
export function isBusy(err: unknown): boolean {
  return err instanceof AdminError && 'status' in err.data && err.data.status === BUSY_STATUS;
}

/** Longest pauses from this attempt on. */
function pausesText(attempt: number): string {
  let ms = 0;
  for (let at = attempt; at < ATTEMPTS_MAX; at += 1) ms += longestPauseMs(at);
  return formatDuration(ms);
}
