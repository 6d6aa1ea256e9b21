import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { readSealingKey, seal, unseal } from './sealing.ts';

const PLACE = { fleetId: 'fleet-1', serial: 3 };

async function keyFile(t: TestContext, text: string, mode = 0o600): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-sealing-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'key');
  await writeFile(file, text);
  await chmod(file, mode);
  return file;
}

test('what is sealed opens with its key in its place, and nowhere else', async (t) => {
  const bytes = randomBytes(32);
  const key = await readSealingKey(await keyFile(t, `${bytes.toString('hex')}\n`));
  const same = await readSealingKey(await keyFile(t, bytes.toString('base64')));
  const other = await readSealingKey(await keyFile(t, randomBytes(32).toString('hex')));
  assert.equal(same.id, key.id);
  assert.notEqual(other.id, key.id);
  const sealed = seal('the keys', key, PLACE);
  assert.equal(unseal(sealed, same, PLACE), 'the keys');
  assert.ok(!sealed.includes('keys') && seal('the keys', key, PLACE) !== sealed);
  const refused = { code: 'RING_DAMAGED' };
  assert.throws(() => unseal(sealed, other, PLACE), refused);
  assert.throws(() => unseal(sealed, key, { ...PLACE, serial: 4 }), refused);
  assert.throws(() => unseal(sealed, key, { ...PLACE, fleetId: 'fleet-2' }), refused);
});

test('a sealed text that was changed anywhere does not open', async (t) => {
  const key = await readSealingKey(await keyFile(t, randomBytes(32).toString('hex')));
  const sealed = Buffer.from(seal('the keys of the fleet', key, PLACE).slice(3), 'base64');
  fc.assert(
    fc.property(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const forged = Buffer.from(sealed);
      forged[at] = (forged[at] ?? 0) ^ change;
      const text = `v1.${forged.toString('base64')}`;
      assert.throws(() => unseal(text, key, PLACE), { code: 'RING_DAMAGED' });
    }),
  );
  for (const cut of [0, 5, 20, 28, sealed.length - 1]) {
    const text = `v1.${sealed.subarray(0, cut).toString('base64')}`;
    assert.throws(() => unseal(text, key, PLACE), { code: 'RING_DAMAGED' });
  }
});

test('a key file that others may read, or that is no key, is refused by its name', async (t) => {
  const good = randomBytes(32).toString('hex');
  const bad = [
    await keyFile(t, good, 0o644),
    await keyFile(t, good, 0o660),
    await keyFile(t, ''),
    await keyFile(t, good.slice(2)),
    await keyFile(t, `${good}00`),
    '/nowhere/key',
  ];
  for (const file of bad) {
    await assert.rejects(readSealingKey(file), (err: Error & { code: string }) => {
      assert.ok(err.message.includes(file), err.message);
      assert.ok(!err.message.includes(good), 'and its content is not told');
      return err.code === 'KEY_FILE';
    });
  }
  assert.ok(await readSealingKey(await keyFile(t, good, 0o440)), 'a group, as Kubernetes mounts');
});
