import { sleep } from '../../proto/std/abort.ts';
import { PEER_HEDGE_MS } from './constants.ts';
import type { CallOptions } from './ports.ts';

type Attempt<T> = (o: { signal: AbortSignal }) => Promise<T | undefined>;

/**
 * Two ways to the same answer: the hub or upstream, and the peers. With `hedge` the other way is
 * tried when the main one has failed or taken PEER_HEDGE_MS, without it both start at once. The
 * first answer that is not undefined wins and the other attempt is aborted.
 * @returns undefined when neither has an answer
 * @throws the reason of the signal; without any answer, what the main way threw
 */
export async function firstOf<T>(
  ways: { main: Attempt<T> | undefined; other: Attempt<T> | undefined; hedge: boolean },
  o: CallOptions,
): Promise<T | undefined> {
  o.signal?.throwIfAborted();
  const stop = new AbortController();
  const onAbort = (): void => stop.abort(o.signal?.reason);
  o.signal?.addEventListener('abort', onAbort, { once: true });
  const done = Promise.withResolvers<T | undefined>();
  const mainFailed = new AbortController();
  let failure: unknown;
  const attempt = async (way: Attempt<T> | undefined): Promise<boolean> => {
    if (way === undefined || stop.signal.aborted) return false;
    const answer = await way({ signal: stop.signal });
    if (answer !== undefined) done.resolve(answer);
    return answer !== undefined;
  };
  const main = async (): Promise<void> => {
    try {
      if (await attempt(ways.main)) return;
    } catch (err) {
      failure = err;
    }
    mainFailed.abort();
  };
  const other = async (): Promise<void> => {
    await headStart(ways.hedge && ways.main !== undefined, mainFailed.signal);
    // What goes wrong with peers is told where it happens; here it is just no answer.
    await attempt(ways.other).catch(() => false);
  };
  void Promise.all([main(), other()]).then(() => done.resolve(undefined));
  stop.signal.addEventListener('abort', () => done.resolve(undefined), { once: true });
  try {
    const answer = await done.promise;
    if (answer !== undefined) return answer;
    o.signal?.throwIfAborted();
    if (failure !== undefined) throw failure;
    return undefined;
  } finally {
    o.signal?.removeEventListener('abort', onAbort);
    stop.abort(new Error('answered'));
    mainFailed.abort();
  }
}

async function headStart(wanted: boolean, failed: AbortSignal): Promise<void> {
  if (!wanted) return;
  try {
    await sleep(PEER_HEDGE_MS, { signal: failed });
  } catch {
    // The main way has failed: begin now.
  }
}
