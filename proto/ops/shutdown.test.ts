import { test } from 'node:test';
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { createLogger } from './logger.ts';
import { runUntilSignal } from './shutdown.ts';

async function untilCut(limit: AbortSignal): Promise<void> {
  await once(limit, 'abort');
}

function failingDrain(): Promise<void> {
  return Promise.reject(new Error('disk gone'));
}

async function emptyDrain(): Promise<void> {}

const logger = createLogger({ level: 'silent', name: 'test' });

test('the first signal drains and the program ends with 0', async () => {
  const signals = new EventEmitter();
  let drained = 0;
  const drain = async (): Promise<void> => void (drained += 1);
  const ended = runUntilSignal({ drain, drainMs: 1_000, logger, signals });
  signals.emit('SIGTERM');
  assert.equal(await ended, 0);
  assert.equal(drained, 1);
  assert.deepEqual(signals.eventNames(), []);
});

test('the deadline aborts the drain, which then cuts what still runs', async () => {
  const signals = new EventEmitter();
  const ended = runUntilSignal({ drain: untilCut, drainMs: 5, logger, signals });
  signals.emit('SIGINT');
  assert.equal(await ended, 0);
});

test('a second signal exits at once with 128 + its number', async () => {
  const signals = new EventEmitter();
  const codes: number[] = [];
  const release = Promise.withResolvers<void>();
  const exit = (code: number): void => {
    codes.push(code);
    release.resolve();
  };
  const drain = (): Promise<void> => release.promise;
  const ended = runUntilSignal({ drain, drainMs: 60_000, logger, signals, exit });
  signals.emit('SIGTERM');
  signals.emit('SIGTERM');
  await ended;
  assert.deepEqual(codes, [143]);
});

test('a failed drain, a failed program and an uncaught error end with 1', async () => {
  const signals = new EventEmitter();
  const ended = runUntilSignal({ drain: failingDrain, drainMs: 1_000, logger, signals });
  signals.emit('SIGTERM');
  assert.equal(await ended, 1);
  const failed = Promise.reject(new Error('listener gone'));
  assert.equal(
    await runUntilSignal({ drain: emptyDrain, drainMs: 1_000, logger, signals, failed }),
    1,
  );
  const codes: number[] = [];
  const exit = (code: number): void => void codes.push(code);
  const running = runUntilSignal({ drain: emptyDrain, drainMs: 1_000, logger, signals, exit });
  signals.emit('uncaughtException', new Error('bug'));
  assert.deepEqual(codes, [1]);
  signals.emit('SIGTERM');
  await running;
});
