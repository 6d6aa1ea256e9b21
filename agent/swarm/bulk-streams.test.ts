import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BulkStreams } from './bulk-streams.ts';
import type { BulkStream } from './bulk-streams.ts';

const NEVER = new AbortController().signal;

function stream(load = 0): BulkStream {
  return { closed: false, load, close: () => {} };
}

test('a caller that leaves does not take the stream from those who wait with it', async () => {
  const opened = Promise.withResolvers<BulkStream>();
  const streams = new BulkStreams(({ signal }) => {
    signal.addEventListener('abort', () => opened.reject(signal.reason));
    return opened.promise;
  });
  const leaver = new AbortController();
  const first = streams.pick(leaver.signal);
  const second = streams.pick(NEVER);
  leaver.abort(new Error('no longer needed'));
  await assert.rejects(first, /no longer needed/);
  const only = stream();
  opened.resolve(only);
  assert.equal(await second, only);
});

test('a peer that never opens a stream holds nobody who leaves', async () => {
  const streams = new BulkStreams(() => new Promise<BulkStream>(() => {}));
  const leaver = new AbortController();
  const waiting = streams.pick(leaver.signal);
  leaver.abort(new Error('given up'));
  await assert.rejects(waiting, /given up/);
  const other = streams.pick(NEVER);
  streams.close();
  await assert.rejects(other, /closed/);
});
