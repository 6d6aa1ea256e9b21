import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HOLD_RENEW_MS } from './constants.ts';
import { Held } from './held.ts';

test('a backup is told to stop when the hub may have removed blobs', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const answers = [true, true, false];
  const ended: string[] = [];
  const client = {
    renew: async () => answers.shift() ?? assert.fail('asked once too often'),
    end: async (id: string) => void ended.push(id),
  };
  {
    await using held = new Held('id', client);
    for (const lost of [false, false, true]) {
      t.mock.timers.tick(HOLD_RENEW_MS);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(held.signal.aborted, lost);
    }
    assert.throws(() => held.signal.throwIfAborted(), { code: 'BACKUP_INTERRUPTED' });
  }
  assert.deepEqual(ended, ['id']);
});
