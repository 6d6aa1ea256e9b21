import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, watch, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { KeptList } from './kept-list.ts';

const logger = createLogger({ level: 'silent', name: 'test' });
const ITEMS_MAX = 3;

async function pathFor(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-kept-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'list.json');
}

function listOf(path: string, items: string[] = []): KeptList {
  const options = { path, itemsMax: ITEMS_MAX, fileMaxBytes: 1_000, delayMs: 1 };
  return new KeptList(options, { items: () => items.map((item) => Buffer.from(item)), logger });
}

async function textsIn(path: string): Promise<string[]> {
  return (await listOf(path).load()).map(String);
}

test('what changed is on disk a moment later, for its owner alone', async (t) => {
  const path = await pathFor(t);
  const limit = AbortSignal.timeout(10_000);
  const events = watch(join(path, '..'), { signal: limit });
  const list = listOf(path, ['a', 'b']);
  list.changed();
  for await (const { filename } of events) if (filename === 'list.json') break;
  assert.deepEqual(await textsIn(path), ['a', 'b']);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test('the last items are kept, no more than there may be', async (t) => {
  const path = await pathFor(t);
  await listOf(path, ['a', 'b', 'c', 'd', 'e']).close();
  assert.deepEqual(await textsIn(path), ['c', 'd', 'e']);
});

test('a list that did not change is not written again, one that became empty is', async (t) => {
  const path = await pathFor(t);
  await listOf(path, []).close();
  await assert.rejects(stat(path), { code: 'ENOENT' });
  await listOf(path, ['a']).close();
  const before = await stat(path);
  const next = listOf(path, ['a']);
  await next.load();
  await next.close();
  assert.equal((await stat(path)).ino, before.ino);
  const last = listOf(path, []);
  await last.load();
  await last.close();
  assert.deepEqual(await textsIn(path), []);
});

test('a file that is damaged or too large is as none, and is replaced', async (t) => {
  const path = await pathFor(t);
  assert.deepEqual(await textsIn(path), []);
  for (const text of ['{"format":1,"items":[', '{"format":2,"items":[]}', ' '.repeat(1_001)]) {
    // oxlint-disable-next-line no-await-in-loop -- in order
    await writeFile(path, text);
    // oxlint-disable-next-line no-await-in-loop -- in order
    assert.deepEqual(await textsIn(path), []);
  }
  await listOf(path, ['a']).close();
  assert.deepEqual(await textsIn(path), ['a']);
});

test('a place that cannot be written to is lived with', async (t) => {
  const path = join(await pathFor(t), 'no', 'folder');
  await listOf(path, ['a']).close();
  assert.deepEqual(await textsIn(path), []);
});
