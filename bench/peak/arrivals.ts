import { sleep } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { shuffled } from '../rig/random.ts';
import { rampSeconds, waveSize } from './bound.ts';
import { nowMs } from './client.ts';
import type { PeakOptions } from './options.ts';

/** One client's pull: it has the image, or why not. Times since the barrier. */
export type Outcome = {
  name: string;
  startSeconds: number;
  endSeconds: number;
  failure: string | undefined;
};

/** A client that pulls when asked; resolves with the moment its last byte was checked. */
export type Puller = { name: string; pull: () => Promise<{ atMs: number }> };

/** Lets the clients begin in the way of arriving that was asked for, and waits for all. */
export async function arrive(
  pullers: readonly Puller[],
  options: PeakOptions,
  run: { imageBytes: number; random: () => number },
): Promise<{ barrierMs: number; outcomes: Outcome[] }> {
  const order = shuffled(pullers, run.random);
  const barrierMs = nowMs();
  const pull = async ({ name, pull: start }: Puller): Promise<Outcome> => {
    const startSeconds = (nowMs() - barrierMs) / 1000;
    try {
      const { atMs } = await start();
      const endSeconds = (atMs - barrierMs) / 1000;
      return { name, startSeconds, endSeconds, failure: undefined };
    } catch (err) {
      const endSeconds = (nowMs() - barrierMs) / 1000;
      return { name, startSeconds, endSeconds, failure: messageOf(err) };
    }
  };
  const turns = new Semaphore({
    permits: options.arrivals === 'rolling' ? waveSize(order.length) : order.length,
    queueMax: order.length,
  });
  const gapMs =
    options.arrivals === 'ramp' && order.length > 1
      ? (rampSeconds(options, run.imageBytes) * 1000) / (order.length - 1)
      : 0;
  const outcomes = await Promise.all(
    order.map(async (puller, place) => {
      const turn = await turns.acquire();
      if (gapMs > 0) await sleep(Math.max(0, place * gapMs - (nowMs() - barrierMs)));
      const outcome = await pull(puller);
      turn[Symbol.dispose]();
      return outcome;
    }),
  );
  return { barrierMs, outcomes };
}
