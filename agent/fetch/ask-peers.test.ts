import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { CodedError } from '../../proto/std/errors.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { askPeers, collectFromPeers, sampleMembers } from './ask-peers.ts';
import {
  FAR_SEARCHES_MAX,
  MEMBER_SAMPLE,
  MEMBER_SEARCH_MAX,
  PEER_QUESTIONS_MAX,
  PEER_QUESTIONS_OPEN_MAX,
  PEER_SEARCH_MS,
  PEER_SLOW_MS,
} from './constants.ts';
import { FarSearches } from './far-search.ts';
import { FakeSwarm } from './swarm-fixture.ts';
import type { CallOptions, PeerLink } from './ports.ts';

const DIGEST = digestOf(Buffer.from('blob'));
const BYTES = Buffer.from('answer');

function ask(link: PeerLink, o: CallOptions): Promise<Buffer | undefined> {
  return link.blob(DIGEST, o);
}

/** `count` members without an answer. */
function swarmOf(count: number): FakeSwarm {
  const swarm = new FakeSwarm();
  for (let i = 0; i < count; i += 1) swarm.answers.set(`peer-${i}`, {});
  return swarm;
}

test('the one member of many that has an answer is found', async () => {
  const swarm = swarmOf(MEMBER_SEARCH_MAX);
  swarm.answers.set('peer-77', { blob: async () => BYTES });
  assert.equal(await askPeers(swarm, ask, {}), BYTES);
});

test('a search that finds nothing asks each member once, up to its bound, and ends', async () => {
  const few = swarmOf(30);
  few.answers.set('peer-3', undefined);
  assert.equal(await askPeers(few, ask, {}), undefined);
  assert.deepEqual(few.linked.toSorted(), [...few.answers.keys()].toSorted());
  const many = swarmOf(3 * MEMBER_SEARCH_MAX);
  assert.equal(await askPeers(many, ask, {}), undefined);
  assert.equal(new Set(many.linked).size, MEMBER_SEARCH_MAX);
  assert.equal(await askPeers(swarmOf(0), ask, {}), undefined);
});

test('a member that is busy is asked once more', async () => {
  const swarm = swarmOf(3);
  let asked = 0;
  const busy = (): Promise<Buffer> => {
    asked += 1;
    if (asked === 1) throw new CodedError('busy', { code: 'BUSY' });
    return Promise.resolve(BYTES);
  };
  swarm.answers.set('peer-1', { blob: async () => busy() });
  assert.equal(await askPeers(swarm, ask, {}), BYTES);
  swarm.answers.set('peer-1', {
    blob: async () => Promise.reject(new CodedError('gone', { code: 'CLOSED' })),
  });
  swarm.linked.length = 0;
  assert.equal(await askPeers(swarm, ask, {}), undefined);
  assert.equal(swarm.linked.filter((peerId) => peerId === 'peer-1').length, 2);
});

test('whoever had an answer is asked first the next time', async () => {
  const swarm = swarmOf(400);
  swarm.answers.set('peer-9', { blob: async () => BYTES });
  while ((await askPeers(swarm, ask, {})) === undefined);
  swarm.linked.length = 0;
  assert.equal(await askPeers(swarm, ask, {}), BYTES);
  assert.equal(swarm.linked[0], 'peer-9');
  const [first, ...others] = sampleMembers(swarm);
  assert.equal(first?.peerId, 'peer-9');
  assert.equal(others.length, MEMBER_SAMPLE - 1);
});

test('members that are silent do not hide one that answers', async () => {
  const swarm = new FakeSwarm();
  const silent = { blob: () => new Promise<undefined>(() => {}) };
  for (let i = 0; i < 8; i += 1) swarm.answers.set(`silent-${i}`, silent);
  swarm.answers.set('talks', { blob: async () => BYTES });
  assert.equal(await askPeers(swarm, ask, {}), BYTES);
});

test('however many are silent, the others are asked in time', async () => {
  const swarm = swarmOf(3 * PEER_QUESTIONS_MAX);
  let asked = 0;
  const question = (): Promise<Buffer> => {
    asked += 1;
    return asked > PEER_QUESTIONS_MAX ? Promise.resolve(BYTES) : new Promise(() => {});
  };
  assert.equal(await askPeers(swarm, question, {}), BYTES);
});

test('a fleet that is silent as a whole keeps few questions open', async () => {
  const swarm = swarmOf(10 * PEER_QUESTIONS_OPEN_MAX);
  let open = 0;
  let most = 0;
  const question = (_link: PeerLink, o: CallOptions): Promise<undefined> => {
    open += 1;
    most = Math.max(most, open);
    const { promise, resolve } = Promise.withResolvers<undefined>();
    o.signal?.addEventListener('abort', () => {
      open -= 1;
      resolve(undefined);
    });
    return promise;
  };
  const bounds = { membersMax: 10 * PEER_QUESTIONS_OPEN_MAX, timeMs: PEER_SEARCH_MS };
  assert.equal(await askPeers(swarm, question, {}, bounds), undefined);
  assert.ok(most <= PEER_QUESTIONS_OPEN_MAX, `${most} questions at a time`);
});

test('a member that is told of is asked although another one is silent', async () => {
  const swarm = new FakeSwarm();
  swarm.answers.set('silent', { blob: () => new Promise(() => {}) });
  const tell = async (): Promise<undefined> => {
    swarm.answers.set('told', { blob: async () => BYTES });
    return undefined;
  };
  swarm.answers.set('teller', { blob: tell });
  assert.equal(await askPeers(swarm, ask, {}), BYTES);
});

test('members that were silent, or are gone, are asked last until they answer', async () => {
  const swarm = swarmOf(2 * MEMBER_SAMPLE);
  swarm.answers.set('peer-1', undefined);
  swarm.answers.set('peer-2', { blob: () => new Promise(() => {}) });
  const bounds = { membersMax: 2 * MEMBER_SAMPLE, timeMs: 2 * PEER_SLOW_MS, settleMs: 0 };
  await collectFromPeers(swarm, ask, bounds);
  const idsOf = (max: number): string[] =>
    sampleMembers(swarm, Math.random, max).map(({ peerId }) => peerId);
  assert.deepEqual(
    idsOf(2 * MEMBER_SAMPLE)
      .slice(-2)
      .toSorted(),
    ['peer-1', 'peer-2'],
  );
  for (const id of ['peer-1', 'peer-2']) swarm.answers.set(id, { blob: async () => BYTES });
  await collectFromPeers(swarm, ask, { ...bounds, settleMs: 2 * PEER_SLOW_MS });
  assert.deepEqual(idsOf(2).toSorted(), ['peer-1', 'peer-2']);
});

test('all answers of a moment are collected, and silence ends with it', async () => {
  const swarm = swarmOf(6);
  for (const peerId of ['a', 'b', 'c']) {
    swarm.answers.set(peerId, { blob: async () => Buffer.from(peerId) });
  }
  const bounds = { membersMax: 20, timeMs: 50, settleMs: 50 };
  const answers = await collectFromPeers(swarm, ask, bounds);
  assert.deepEqual(answers.map(String).toSorted(), ['a', 'b', 'c']);
  swarm.answers.set('never', { blob: () => new Promise(() => {}) });
  assert.equal((await collectFromPeers(swarm, ask, bounds)).length, 3);
});

test('a search whose asker left ends with the reason', async () => {
  const swarm = new FakeSwarm();
  swarm.answers.set('never', { blob: () => new Promise(() => {}) });
  const left = new AbortController();
  const bounds = { membersMax: 1, timeMs: 60_000, settleMs: 0, signal: left.signal };
  const searches = [askPeers(swarm, ask, left), collectFromPeers(swarm, ask, bounds)];
  left.abort(new Error('client gone'));
  await Promise.all(searches.map((search) => assert.rejects(search, /client gone/)));
});

test('what no reader waits for is found in the background, and then at once', async () => {
  const swarm = swarmOf(5 * MEMBER_SEARCH_MAX);
  swarm.answers.set('peer-9', { blob: async () => BYTES });
  const far = new FarSearches({ swarm });
  far.begin('blob', ask);
  while (sampleMembers(swarm, () => 0)[0]?.peerId !== 'peer-9') await setImmediate();
  await far.close();
  swarm.linked.length = 0;
  assert.equal(await askPeers(swarm, ask, {}), BYTES);
  assert.equal(swarm.linked[0], 'peer-9');
  far.begin('late', () => assert.fail('begun after the end'));
});

test('searches in the background are few, and one for one thing', async () => {
  const swarm = new FakeSwarm();
  swarm.answers.set('silent', {});
  const begun: string[] = [];
  const far = new FarSearches({ swarm });
  for (let i = 0; i < 3 * FAR_SEARCHES_MAX; i += 1) {
    const key = `thing-${Math.floor(i / 2)}`;
    far.begin(key, () => {
      begun.push(key);
      return new Promise(() => {});
    });
  }
  await far.close();
  assert.equal(new Set(begun).size, begun.length);
  assert.ok(begun.length <= FAR_SEARCHES_MAX);
});

test('a member that another one has just told of is asked too', async () => {
  const swarm = new FakeSwarm();
  const tell = async (): Promise<undefined> => {
    setTimeout(() => swarm.answers.set('told', { blob: async () => BYTES }), 1);
    return undefined;
  };
  swarm.answers.set('teller', { blob: tell });
  assert.equal(await askPeers(swarm, ask, {}), BYTES);
  assert.deepEqual(swarm.linked, ['teller', 'told']);
});
