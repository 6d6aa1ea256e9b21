import { sleep } from '../std/abort.ts';
import type { AdminRequest } from './admin-commands.ts';
import { HUB_AWAY_MS, HUB_AWAY_STEP_MS } from './constants.ts';
import { isPassing } from './join-token-request.ts';

type Ask = (request: AdminRequest) => Promise<unknown>;

/**
 * Asks as `ask` does, for who waits for something: a hub that has answered before and is away, as
 * while it is started again, is asked once more for a while. `awayMs`: how long.
 */
export function patientAsk(
  ask: Ask,
  { awayMs = HUB_AWAY_MS, stepMs = HUB_AWAY_STEP_MS }: { awayMs?: number; stepMs?: number } = {},
): Ask {
  let hasAnswered = false;
  return async (request) => {
    const endMs = performance.now() + awayMs;
    for (;;) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- the next try is for when this one failed
        const answer = await ask(request);
        hasAnswered = true;
        return answer;
      } catch (err) {
        if (!hasAnswered || !isPassing(err) || performance.now() >= endMs) throw err;
      }
      // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next try
      await sleep(stepMs);
    }
  };
}
