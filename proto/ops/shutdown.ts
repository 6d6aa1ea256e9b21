import type { EventEmitter } from 'node:events';
import { messageOf } from '../std/errors.ts';
import { SHUTDOWN_GRACE_MS } from './constants.ts';
import type { Logger } from './logger.ts';

export type RunOptions = {
  /**
   * Stops taking new work and resolves when running work has ended. `deadline` aborts after
   * `drainMs`: then what still runs is to be cut.
   */
  drain: (deadline: AbortSignal) => Promise<void>;
  drainMs: number;
  logger: Logger;
  /** Resolves or rejects when the program cannot go on by itself; taken as a failure. */
  failed?: Promise<unknown>;
  /** Where signals arrive; `process` unless a test gives another emitter. */
  signals?: EventEmitter;
  exit?: (code: number) => void;
};

const SIGNAL_NUMBERS = [
  ['SIGINT', 2],
  ['SIGTERM', 15],
] as const;
type SignalName = (typeof SIGNAL_NUMBERS)[number][0];

/**
 * Runs until SIGTERM or SIGINT, then drains and resolves with the exit code: 0 after a clean
 * drain, 1 when the drain or the program failed. A second signal exits at once with
 * 128 + its number. A drain that ignores its deadline is cut SHUTDOWN_GRACE_MS later.
 * An uncaught error is logged and exits with 1: the state is unknown then.
 */
export async function runUntilSignal(options: RunOptions): Promise<number> {
  const { logger, drainMs } = options;
  const signals: EventEmitter = options.signals ?? process;
  const exit = options.exit ?? ((code: number) => process.exit(code));
  const first = Promise.withResolvers<SignalName>();
  let seen = 0;
  const handlers = SIGNAL_NUMBERS.map(([name, number]) => {
    const listener = (): void => {
      seen += 1;
      if (seen > 1) {
        logger.warn({ signal: name }, 'second signal, exiting without drain');
        exit(128 + number);
      }
      first.resolve(name);
    };
    return { name, listener };
  });
  const onFatal = (err: unknown): void => {
    logger.fatal({ err }, 'uncaught error, exiting');
    exit(1);
  };
  for (const { name, listener } of handlers) signals.on(name, listener);
  signals.on('uncaughtException', onFatal);
  try {
    const failure = options.failed?.then(
      () => 'failed' as const,
      (err: unknown) => {
        logger.fatal({ err }, 'program failed');
        return 'failed' as const;
      },
    );
    const cause = await firstOf(first.promise, failure);
    logger.info({ cause, drainMs }, 'draining');
    const clean = await drainWithin(options, exit);
    return clean && cause !== 'failed' ? 0 : 1;
  } finally {
    for (const { name, listener } of handlers) signals.off(name, listener);
    signals.off('uncaughtException', onFatal);
  }
}

async function firstOf<A, B>(a: Promise<A>, b: Promise<B> | undefined): Promise<A | B> {
  return b === undefined
    ? a
    : new Promise<A | B>((resolve, reject) => {
        a.then(resolve, reject);
        b.then(resolve, reject);
      });
}

async function drainWithin(options: RunOptions, exit: (code: number) => void): Promise<boolean> {
  const { logger, drainMs } = options;
  const limit = new AbortController();
  const soft = setTimeout(() => {
    logger.warn({ drainMs }, 'drain deadline passed, cutting what still runs');
    limit.abort(new Error(`drain deadline of ${drainMs} ms passed`));
  }, drainMs);
  const hard = setTimeout(() => {
    logger.error({}, 'drain did not end after its deadline, exiting');
    exit(1);
  }, drainMs + SHUTDOWN_GRACE_MS);
  try {
    await options.drain(limit.signal);
    logger.info({}, 'stopped');
    return true;
  } catch (err) {
    logger.error({ err, reason: messageOf(err) }, 'drain failed');
    return false;
  } finally {
    clearTimeout(soft);
    clearTimeout(hard);
  }
}
