// A medium that gives other bytes after they were checked.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { HubRegistry, type Wish } from '../../hub/bundle/hub-registry.ts';
import { digestHex, digestOf } from '../../proto/oci/digest.ts';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { exportTo, importTo, scratch } from './bundle-rig.ts';

/** Tells when a manifest was pushed under its digest. */
class Watching extends HubRegistry {
  readonly #pushed: () => Promise<void>;

  constructor(hub: { url: string }, pushed: () => Promise<void>) {
    super({ url: hub.url, ...ADMIN });
    this.#pushed = pushed;
  }

  override async send(wish: Wish) {
    const answer = await super.send(wish);
    if (wish.method === 'PUT' && wish.path.includes('/manifests/sha256:')) await this.#pushed();
    return answer;
  }
}

test('a tag names what was signed, also when the bundle changes while it is read', async (t) => {
  const folder = path.join(await scratch(t), 'bundle');
  await using from = await TestHub.start();
  await using to = await TestHub.start();
  const annotations = { by: 'somebody' };
  const { digest, bytes } = await from.pushImage('v1', [Buffer.from('a layer')], { annotations });
  await exportTo(from, folder, ['team/app:v1']);
  const place = path.join(folder, 'blobs', 'sha256', digestHex(digest));
  const other = Buffer.from(bytes.toString().replace('somebody', 'stranger'));
  const registry = new Watching(to, () => writeFile(place, other));
  await assert.rejects(importTo(to, folder, from, { registry }), { code: 'BUNDLE_DAMAGED' });
  const unsigned = await to.ask(`/v2/team/app/manifests/${digestOf(other)}`);
  assert.equal(unsigned.status, 404);
  assert.equal((await to.ask('/v2/team/app/manifests/v1')).status, 404);
});
