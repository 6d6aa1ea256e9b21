import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { HubRegistry } from '../../hub/bundle/hub-registry.ts';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { exportTo, importTo, scratch } from './bundle-rig.ts';

const LAYERS = [randomBytes(3_000_000), randomBytes(5_000_000)];

/** Stands before the bytes of the first blob until it may go on. */
class Standing extends HubRegistry {
  readonly reached = Promise.withResolvers<void>();
  readonly goOn = Promise.withResolvers<void>();

  override async blob(...ask: Parameters<HubRegistry['blob']>) {
    this.reached.resolve();
    await this.goOn.promise;
    return super.blob(...ask);
  }
}

for (const name of ['bundle.tar', 'bundle']) {
  test(`a second export to one place is refused, and harms nothing: ${name}`, async (t) => {
    const folder = await scratch(t);
    const place = path.join(folder, name);
    await using hub = await TestHub.start();
    await hub.pushImage('v1', LAYERS);
    await hub.pushImage('v2', [randomBytes(1000)]);
    const registry = new Standing({ url: hub.url, ...ADMIN });
    const first = exportTo(hub, place, ['team/app:v1'], { registry });
    await registry.reached.promise;
    const second = exportTo(hub, place, ['team/app:v2']);
    await assert.rejects(second, {
      code: 'TARGET_BUSY',
      message: `another export writes ${place} now; wait for its end, or name another place`,
    });
    registry.goOn.resolve();
    await first;
    await using to = await TestHub.start();
    await importTo(to, place, hub);
    assert.equal((await to.ask('/v2/team/app/manifests/v1')).status, 200);
    assert.deepEqual(await readdir(folder), [name], 'nothing is left beside it');
  });
}
