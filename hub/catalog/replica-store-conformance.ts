// What every store of replicas must do, wherever it keeps its rows.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { ReplicaStore } from '../replicas/store.ts';

const A = { id: 'a', url: 'http://a:7400' };
const B = { id: 'b', url: 'http://b:7400' };

async function join(store: ReplicaStore, replica: { id: string; url: string }): Promise<number> {
  return (await store.join(replica, { max: 7 })) ?? 0;
}

/** Tests of the store of replicas in one place; `open` gives an empty one. */
export function replicaStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<ReplicaStore>,
  options: { skip?: string | false } = {},
): void {
  const check = (promise: string, work: (store: ReplicaStore) => Promise<void>): void => {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => work(await open(t)));
  };
  checkHeartbeats(check);
  checkComing(check);
}

type Check = (promise: string, work: (store: ReplicaStore) => Promise<void>) => void;

function checkHeartbeats(check: Check): void {
  check('each replica tells of itself and sees all', async (store) => {
    const joined = await join(store, A);
    const first = await store.beat({ id: 'a', joined, seen: 0 });
    assert.deepEqual(first, { epoch: joined, replicas: [{ ...A, joined, beat: 1, seen: 0 }] });
    const later = await join(store, B);
    assert.ok(later > joined);
    await store.beat({ id: 'b', joined: later, seen: later });
    const both = await store.beat({ id: 'a', joined, seen: joined });
    assert.deepEqual(both, {
      epoch: later,
      replicas: [
        { ...A, joined, beat: 2, seen: joined },
        { ...B, joined: later, beat: 1, seen: later },
      ],
    });
  });

  check('who has given a heartbeat since is not taken out', async (store) => {
    const joined = await join(store, A);
    const other = await join(store, B);
    await store.beat({ id: 'a', joined, seen: 0 });
    const beat = { id: 'b', joined: other, seen: 0 };
    const { epoch } = await store.beat(beat);
    assert.equal(await store.evict({ id: 'a', joined, beat: 0 }), false);
    assert.equal(await store.evict({ id: 'a', joined: joined + 1, beat: 1 }), false);
    assert.equal((await store.beat(beat)).epoch, epoch);
    assert.equal(await store.evict({ id: 'a', joined, beat: 1 }), true);
    assert.equal(await store.evict({ id: 'a', joined, beat: 1 }), false);
    const left = await store.beat(beat);
    assert.ok(left.epoch > epoch);
    assert.deepEqual(
      left.replicas.map(({ id }) => id),
      ['b'],
    );
  });
}

function checkComing(check: Check): void {
  check('who is out finds that it is, and a heartbeat does not bring it back', async (store) => {
    const joined = await join(store, A);
    await store.leave({ id: 'a', joined });
    const { epoch, replicas } = await store.beat({ id: 'a', joined, seen: joined });
    assert.deepEqual(replicas, []);
    assert.ok(epoch > joined);
  });

  check('another run of a hub takes the place of the last one', async (store) => {
    const joined = await join(store, A);
    const again = await join(store, { ...A, url: 'http://moved:7400' });
    await store.leave({ id: 'a', joined });
    await store.beat({ id: 'a', joined, seen: 9 });
    const { epoch, replicas } = await store.beat({ id: 'a', joined: again, seen: again });
    assert.equal(epoch, again);
    const row = { id: 'a', url: 'http://moved:7400', joined: again, beat: 1, seen: again };
    assert.deepEqual(replicas, [row]);
  });

  check('all who come and go at once have epochs of their own, and so many come', async (store) => {
    const ids = Array.from({ length: 12 }, (_, i) => `hub-${i}`);
    const epochs = await Promise.all(ids.map((id) => join(store, { id, url: 'http://x' })));
    const came = ids.filter((_, i) => epochs[i] !== 0);
    assert.deepEqual([came.length, new Set(epochs).size], [7, 8]);
    const again = await join(store, { id: came[0] ?? '', url: 'http://x' });
    assert.ok(again > Math.max(...epochs), 'one that is in may come in anew');
    const left = ids.map((id, i) => store.leave({ id, joined: epochs[i] ?? 0 }));
    await Promise.all([...left, store.leave({ id: came[0] ?? '', joined: again })]);
    const { epoch, replicas } = await store.beat({ id: 'none', joined: 0, seen: 0 });
    assert.deepEqual([epoch, replicas], [again + 7, []]);
  });
}
