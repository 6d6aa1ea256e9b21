import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { SENDFILE_CALLS_MAX } from './constants.ts';
import { loadSendFile } from './sendfile.ts';

const NO_DESCRIPTOR = 1_000_000;
const GO_ON = { signal: new AbortController().signal };
const SPARSE_BYTES = 1024 ** 3;

let folder: string;
let whole: FileHandle;
let sparse: FileHandle;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'flotilla-sendfile-'));
  await writeFile(path.join(folder, 'whole'), 'what is in the file');
  whole = await open(path.join(folder, 'whole'));
  await writeFile(path.join(folder, 'sparse'), '');
  await truncate(path.join(folder, 'sparse'), SPARSE_BYTES);
  sparse = await open(path.join(folder, 'sparse'));
});

after(async () => {
  await whole.close();
  await sparse.close();
  await rm(folder, { recursive: true });
});

describe('sendfile', () => {
  it('is had once more by another agent of the process', () => {
    assert.notEqual(loadSendFile(), loadSendFile());
  });

  it('sends a part of a file, and no more than there is', async () => {
    const calls = loadSendFile();
    await using to = await open(path.join(folder, 'copy'), 'w+');
    const copy = calls.duplicate(to.fd);
    assert.equal(await calls.send(copy, whole.fd, { position: 5, length: 2 }, GO_ON), 2);
    assert.equal(await calls.send(copy, whole.fd, { position: 12, length: 1_000 }, GO_ON), 7);
    assert.equal(await calls.send(copy, whole.fd, { position: 19, length: 1_000 }, GO_ON), 0);
    calls.close(copy);
    assert.equal(await calls.send(copy, whole.fd, { position: 0, length: 1 }, GO_ON), -1);
    assert.equal(await readFile(path.join(folder, 'copy'), 'utf8'), 'ishe file');
  });

  it('is called for many at a time', async () => {
    const calls = loadSendFile();
    const many = Array.from({ length: 20 * SENDFILE_CALLS_MAX }, (_, index) =>
      calls.send(
        NO_DESCRIPTOR,
        sparse.fd,
        { position: index * 1_000_000, length: 1_000_000 },
        GO_ON,
      ),
    );
    assert.deepEqual(new Set(await Promise.all(many)), new Set([-1]));
  });

  it('makes nobody wait for a turn who has given up', async () => {
    const range = { position: 0, length: 1 };
    const gone = { signal: AbortSignal.abort(new Error('gone')) };
    await assert.rejects(loadSendFile().send(NO_DESCRIPTOR, sparse.fd, range, gone), /gone/);
  });

  it('takes nothing when the connection is full, and does not wait for the client', async () => {
    const calls = loadSendFile();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address !== null);
    const client = connect({ port: address.port, host: '127.0.0.1' });
    const [accepted] = await once(server, 'connection');
    accepted.pause();
    await once(client, 'connect');
    const descriptor = Number(Reflect.get(Reflect.get(client, '_handle'), 'fd'));
    let sent = 0;
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- until it is full
      const more = await calls.send(
        descriptor,
        sparse.fd,
        { position: sent, length: 1_000_000 },
        GO_ON,
      );
      if (more < 0) break;
      sent += more;
    }
    assert.ok(sent > 0);
    client.destroy();
    accepted.destroy();
    server.close();
  });
});
