import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { AdminError } from '../../proto/ops/join-token-request.ts';
import { copyBlob } from './blob-copy.ts';
import type { BackupClient } from './client.ts';

const BYTES = Buffer.from('0123456789');
const { signal } = new AbortController();

/** A hub that answers each request for the blob as told, and what it was asked for. */
function hubThat(...answers: ((rest: Buffer) => AsyncIterable<Buffer> | undefined)[]) {
  const starts: number[] = [];
  const client: Pick<BackupClient, 'blob'> = {
    blob: async (_id, _digest, { start }) => {
      const answer = answers[starts.length];
      starts.push(start);
      return answer?.(BYTES.subarray(start));
    },
  };
  return { client, starts };
}

async function* whole(rest: Buffer): AsyncGenerator<Buffer> {
  yield rest;
}

async function* cut(rest: Buffer): AsyncGenerator<Buffer> {
  yield rest.subarray(0, 3);
  throw new AdminError('the hub broke off', { code: 'HUB_UNREACHABLE', url: 'http://hub' });
}

function others(rest: Buffer) {
  return whole(Buffer.alloc(rest.length));
}

function fewer(rest: Buffer) {
  return whole(rest.subarray(1));
}

function nothing() {
  return undefined;
}

async function copy(t: TestContext, hub: ReturnType<typeof hubThat>, before?: Buffer) {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-copy-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const target = path.join(folder, 'blob');
  if (before !== undefined) await writeFile(`${target}.new`, before);
  const wish = { id: 'id', digest: digestOf(BYTES), size: BYTES.length, target };
  const fate = await copyBlob(wish, { client: hub.client, onBytes: () => {} }, { signal });
  return { fate, target, names: await readdir(folder) };
}

test('a copy that was cut goes on where it was', async (t) => {
  const hub = hubThat(cut, cut, whole);
  const { fate, target } = await copy(t, hub);
  assert.deepEqual([fate, hub.starts], ['copied', [0, 3, 6]]);
  assert.deepEqual(await readFile(target), BYTES);
  assert.equal((await stat(target)).mode & 0o777, 0o600);
});

test('what an earlier backup left is gone on with', async (t) => {
  const hub = hubThat(whole);
  const { fate, names } = await copy(t, hub, BYTES.subarray(0, 7));
  assert.deepEqual([fate, hub.starts, names], ['copied', [7], ['blob']]);
  const none = hubThat();
  assert.equal((await copy(t, none, BYTES)).fate, 'copied');
  assert.deepEqual(none.starts, []);
});

test('what is no part of the blob is begun anew', async (t) => {
  const longer = hubThat(whole);
  assert.equal((await copy(t, longer, Buffer.alloc(11))).fate, 'copied');
  assert.deepEqual(longer.starts, [0]);
  const other = hubThat(whole, whole);
  const { fate, target } = await copy(t, other, Buffer.from('012X'));
  assert.deepEqual([fate, other.starts], ['copied', [4, 0]]);
  assert.deepEqual(await readFile(target), BYTES);
});

test('other bytes, fewer bytes and no bytes are no blob', async (t) => {
  for (const answer of [others, fewer, nothing]) {
    const { fate, names } = await copy(t, hubThat(answer, answer));
    assert.deepEqual([fate, names], ['lost', []]);
  }
});
