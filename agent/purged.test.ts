import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseRepository } from '../proto/oci/name.ts';
import { Bench, signal } from './fleet/test-bench.ts';
import { TestHub } from './fleet/test-hub.ts';
import { FLEET_PATHS } from '../proto/hubapi/constants.ts';
import { digestOf } from '../proto/oci/digest.ts';
import { PURGED_WAIT_MS } from './constants.ts';
import { PurgedContent } from './purged.ts';
import { LOGGER, ORIGIN, sampleOf, StoreFolder, writeChunks } from './store/test-store.ts';
import { readerOf } from './swarm/content-reader.ts';

const small = Buffer.from('a small blob');
const repository = parseRepository(ORIGIN.repository);

test('what the hub takes down is gone from the store, and neither served nor fetched', async () => {
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const sample = sampleOf(6);
  const { digest } = sample.input;
  await writeChunks(await store.create(sample.input), sample.bytes);
  await store.putSmall(digestOf(small), small);
  const file = join(folder.dataDir, 'purged.json');
  using purged = await PurgedContent.open({ file, awaitsHub: false }, { store, logger: LOGGER });
  const reader = purged.reader(readerOf(store));
  assert.deepEqual(await reader.small(digestOf(small)), small);
  await purged.replace([digest, digestOf(small)]);
  assert.deepEqual([store.stats().blobs, store.find(digest)], [0, undefined]);
  await store.putSmall(digestOf(small), small);
  assert.equal(await reader.small(digestOf(small)), undefined, 'a late download is not served');
  assert.equal(await purged.local(store).getSmall(digestOf(small)), undefined);
  const source = purged.source({
    manifest: async () => small,
    notice: () => assert.fail('not to be fetched'),
    ahead: () => assert.fail('not to be fetched'),
    open: () => assert.fail('not to be fetched'),
  });
  const request = { namespace: 'hub', repository, digest, grant: undefined };
  await assert.rejects(source.open(request, signal()), { data: { code: 'NOT_FOUND', digest } });
  assert.equal(await source.manifest(request, signal()), undefined);
  source.notice({ namespace: 'hub', repository }, digest);
  source.ahead({ namespace: 'hub', repository }, digest, Buffer.from('{}'));
  await purged.replace([]);
  assert.deepEqual(await source.manifest(request, signal()), small);
});

test('an agent that starts again serves nothing before it knows what was taken down', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  await using folder = await StoreFolder.make();
  const store = await folder.start();
  const options = { file: join(folder.dataDir, 'purged.json'), awaitsHub: true };
  const [first, other] = [Buffer.from('of an earlier run'), Buffer.from('of meanwhile')];
  for (const bytes of [first, other, small]) await store.putSmall(digestOf(bytes), bytes);
  const modules = { store, logger: LOGGER };
  await (await PurgedContent.open(options, modules)).replace([digestOf(first)]);
  await store.putSmall(digestOf(first), first);
  using purged = await PurgedContent.open(options, modules);
  assert.equal(await store.getSmall(digestOf(first)), undefined, 'what was told before is gone');
  const reader = purged.reader(readerOf(store));
  assert.equal(await reader.small(digestOf(small)), undefined, 'nor do peers get anything');
  const asked = purged.local(store).getSmall(digestOf(other));
  const wanted = purged.local(store).getSmall(digestOf(small));
  await purged.replace([digestOf(first), digestOf(other)]);
  purged.heard();
  assert.deepEqual([await asked, await wanted], [undefined, small]);
  using silent = await PurgedContent.open(options, modules);
  const late = silent.local(store).getSmall(digestOf(small));
  t.mock.timers.tick(PURGED_WAIT_MS);
  assert.deepEqual(await late, small, 'a hub that is silent is not waited for');
  await writeFile(options.file, 'damaged');
  using damaged = await PurgedContent.open(options, modules);
  damaged.heard();
  assert.deepEqual(await damaged.reader(readerOf(store)).small(digestOf(small)), small);
});

test('an agent says that it has acted only after what was taken down is gone', async () => {
  await using bench = new Bench();
  await using hub = await new TestHub().start();
  const told = { version: 'a1', digests: [digestOf(small)] };
  const asked: (string | null)[] = [];
  const acted = Promise.withResolvers<void>();
  hub.handlers[FLEET_PATHS.members] = (_body, { url }) => {
    asked.push(new URL(url, hub.url).searchParams.get('purged'));
    if (asked.at(-1) === told.version) acted.resolve();
    return { body: { version: 0, ...(asked.at(-1) === told.version ? {} : { purged: told }) } };
  };
  const removed: string[] = [];
  const fleet = await bench.open({ url: hub.url, joinToken: hub.joinToken(), pollMs: 5 });
  assert.ok(fleet);
  const purge = async (digests: readonly string[]): Promise<void> => {
    removed.push(...digests);
    if (removed.length === 1) throw new Error('the disk is away');
  };
  let heard = 0;
  fleet.start({ libp2pPort: 7412, purge, heard: () => void (heard += 1) });
  await acted.promise;
  assert.ok(heard > 0);
  assert.deepEqual(removed, [...told.digests, ...told.digests], 'tried again after a failure');
  assert.deepEqual(asked.slice(0, 3), ['', '', told.version]);
});
