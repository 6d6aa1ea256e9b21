import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { BackedMemory } from './backed-memory.ts';

const MIB = 1024 ** 2;

test('memory is given back as it is needed, and nothing is left of it', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-memory-'));
  t.after(() => rm(folder, { recursive: true }));
  using memory = await BackedMemory.take(100 * MIB, { folder });
  assert.equal(memory.heldBytes, 96 * MIB);
  assert.deepEqual(await readdir(folder), []);
  memory.freeTo(0);
  assert.equal(memory.heldBytes, 96 * MIB);
  memory.freeTo(1);
  memory.freeTo(30 * MIB);
  assert.equal(memory.heldBytes, 64 * MIB);
  memory[Symbol.dispose]();
  assert.equal(memory.heldBytes, 0);
});

test('where there is no such folder there is no such memory', async () => {
  using memory = await BackedMemory.take(100 * MIB, { folder: '/nowhere' });
  assert.equal(memory.heldBytes, 0);
});
