// What the store of uploads under way must do, in whichever database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { UploadStore } from '../registry/upload-store.ts';

/** Tests of the store of uploads in one place; `open` gives an empty one that hubs share. */
export function uploadStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<UploadStore>,
  options: { skip?: string | false } = {},
): void {
  const check = (promise: string, work: (store: UploadStore) => Promise<void>): void => {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => work(await open(t)));
  };
  const times = { nowMs: 1_700_000_000_000, expiresAtMs: 1_700_000_100_000 };
  const add = async (store: UploadStore, id: string, subject: string): Promise<void> =>
    store.create({ id, repository: 'team/app', subject, state: '', size: 0 }, times);

  check('uploads are counted by who began them', async (store) => {
    assert.deepEqual(await store.counts(), new Map());
    for (const id of ['a', 'b', 'c']) await add(store, id, 'account:ann');
    await add(store, 'd', 'robot:team+ci');
    const both = new Map([
      ['account:ann', 3],
      ['robot:team+ci', 1],
    ]);
    assert.deepEqual(await store.counts(), both);
    await store.remove({ id: 'd', epoch: 0 });
    await store.takeExpired(times.expiresAtMs + 1, 2);
    assert.deepEqual(await store.counts(), new Map([['account:ann', 1]]));
  });

  check('an upload is neither found nor held by another subject or elsewhere', async (store) => {
    await add(store, 'a', 'account:ann');
    const by = { holder: 'hub', nowMs: times.nowMs, untilMs: times.nowMs + 1000 };
    const own = { id: 'a', repository: 'team/app', subject: 'account:ann' };
    for (const other of [
      { ...own, subject: 'account:eve' },
      { ...own, repository: 'other/app' },
      { ...own, id: 'b' },
    ]) {
      assert.equal(await store.find(other), undefined);
      assert.equal(await store.hold(other, by), 'unknown');
    }
    assert.notEqual(await store.hold(own, by), 'unknown');
  });
}
