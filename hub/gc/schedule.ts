import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Collector } from './collector.ts';
import { GC_LOOK_MS } from './constants.ts';

/**
 * Collects whenever the last collection, by any hub, began `intervalMs` ago. Disposed, it waits for
 * one that goes on to stop.
 */
export function scheduleCollections(
  options: { intervalMs: number },
  modules: { collector: Collector; logger: Logger },
): AsyncDisposable {
  const { collector, logger } = modules;
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  const collect = async (): Promise<void> => {
    try {
      await collector.collect({ unlessWithinMs: options.intervalMs }, { signal: stop.signal });
    } catch (err) {
      if (!stop.signal.aborted) logger.warn({ reason: messageOf(err) }, 'collection failed');
    } finally {
      running = undefined;
    }
  };
  const timer = setInterval(() => {
    running ??= collect();
  }, GC_LOOK_MS);
  timer.unref();
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      stop.abort();
      await running;
    },
  };
}
