import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { BlobPaths, DATA_FILE } from '../store/blob-paths.ts';
import { TestFleet } from './test-rig.ts';

const LEAVES = 24;

test('a part of a blob that is damaged is no matter to who reads what lies before it', async () => {
  const fleet = new TestFleet();
  const { digest, bytes } = fleet.hub.addBlob(LEAVES * LEAF_BYTES);
  const first = await fleet.agent();
  await first.pull(digest);
  const { dataDir } = first;
  await first.close();
  const path = join(new BlobPaths(dataDir).chunked(digest), DATA_FILE);
  const file = await open(path, 'r+');
  await file.write(Buffer.from('other bytes'), 0, 11, (LEAVES - 1) * LEAF_BYTES);
  await file.close();
  fleet.agents.delete(first.peerId);
  const agent = await fleet.agent({ dataDir });
  fleet.hub.sentBytes = 0;
  {
    using handle = await agent.downloads.open(await agent.request(digest), {});
    const sink = { take: () => Promise.resolve(0) };
    let at = 0;
    for await (const piece of handle.read({ start: 0, end: handle.size }, { sink })) {
      assert.ok(piece.equals(bytes.subarray(at, at + piece.length)), `at ${at}`);
      at += piece.length;
      if (at >= LEAF_BYTES) break;
    }
  }
  assert.equal(fleet.hub.sentBytes, 0, 'all of it is in the store');
  await fleet.close();
});
