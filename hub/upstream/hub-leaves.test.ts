import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { CodedError } from '../../proto/std/errors.ts';
import { HubLeaves } from './hub-leaves.ts';
import type { HubLeavesQuestion } from './hub-question.ts';
import { HUB_LEAVES_CALLS_MAX } from './pull-constants.ts';

const HUB = { id: 'a', url: 'http://a.example', joined: 1, beat: 1, seen: 1 };
const DIGEST = digestOf(Buffer.from('a blob'));
const BATCH = Buffer.from('a batch');

/** The other hub, which answers when a test says so. */
function room() {
  const asked: {
    question: HubLeavesQuestion;
    signal: AbortSignal;
    answer: PromiseWithResolvers<Buffer | undefined>;
  }[] = [];
  const sizes: number[] = [];
  const leaves = new HubLeaves({
    hubs: {
      ownership: { partIn: () => ({ kind: 'nobody' }), view: undefined, self: undefined },
      refresh: async () => {},
      sign: () => '',
      ca: undefined,
    },
    streams: {
      leaves: (_hub, question, { signal }) => {
        const answer = Promise.withResolvers<Buffer | undefined>();
        signal.addEventListener('abort', () => answer.reject(signal.reason));
        asked.push({ question, signal, answer });
        return answer.promise;
      },
      size: async () => {
        sizes.push(9);
        return 9;
      },
      open: async () => {
        throw ociError('UNAVAILABLE', 'away');
      },
    },
  });
  const ask = (from: number, signal?: AbortSignal): Promise<Buffer | undefined> =>
    leaves.batch(HUB, { repository: 'docker.io/app', digest: DIGEST, from }, { signal });
  return { leaves, asked, ask, sizes };
}

test('all who ask for the same leaves cost the other hub one question', async () => {
  const { leaves, asked, ask } = room();
  const waiting = [ask(3), ask(3), ask(3), ask(4)];
  assert.equal(leaves.waiters, 4);
  assert.deepEqual(
    asked.map(({ question }) => question.from),
    [3, 4],
  );
  for (const { answer } of asked) answer.resolve(BATCH);
  assert.deepEqual(await Promise.all(waiting), [BATCH, BATCH, BATCH, BATCH]);
  assert.equal(leaves.waiters, 0);
  const next = ask(3);
  asked[2]?.answer.resolve(undefined);
  assert.equal(await next, undefined, 'it is asked anew');
});

test('the question ends when the last agent that waits for it goes, and not before', async () => {
  const { asked, ask } = room();
  const [one, two] = [new AbortController(), new AbortController()];
  const waiting = [ask(3, one.signal), ask(3, two.signal)];
  one.abort(new Error('the first went'));
  await assert.rejects(waiting[0] ?? Promise.resolve(), /the first went/);
  assert.equal(asked[0]?.signal.aborted, false);
  two.abort(new Error('the second went'));
  await assert.rejects(waiting[1] ?? Promise.resolve(), /the second went/);
  assert.equal(asked[0].signal.aborted, true);
  const later = ask(3);
  asked[1]?.answer.resolve(BATCH);
  assert.equal(await later, BATCH);
});

test('so many questions are under way, and more are told to come back', async () => {
  const { asked, ask } = room();
  const waiting = Array.from({ length: HUB_LEAVES_CALLS_MAX }, (_, from) => ask(from));
  await assert.rejects(ask(HUB_LEAVES_CALLS_MAX), { code: 'UNAVAILABLE' });
  const shared = ask(0);
  for (const { answer } of asked) answer.resolve(BATCH);
  await Promise.all([...waiting, shared]);
});

test('a hub that was silent is left alone for a while', async () => {
  const { asked, ask } = room();
  const first = ask(0);
  asked[0]?.answer.reject(new CodedError('no result', { code: 'TIMEOUT' }));
  await assert.rejects(first, { code: 'HUB_AWAY' });
  await assert.rejects(ask(0), { code: 'HUB_AWAY' });
  assert.equal(asked.length, 1);
});

test('the size of a blob is asked once, and anew when it could not be read', async () => {
  const { leaves, sizes } = room();
  const target = { repository: 'docker.io/app', digest: DIGEST };
  const first = await leaves.open(HUB, target, {});
  await using second = await leaves.open(HUB, target, {});
  assert.deepEqual([first?.size, second?.size, sizes.length], [9, 9, 1]);
  await assert.rejects(first?.read(Buffer.alloc(1), 0) ?? Promise.resolve(), /away/);
  await first?.[Symbol.asyncDispose]();
  await using third = await leaves.open(HUB, target, {});
  assert.deepEqual([third?.size, sizes.length], [9, 2]);
});
