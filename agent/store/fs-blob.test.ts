import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { HASH_BYTES } from '../../proto/chunks/merkle.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { BlobPaths, DATA_FILE } from './blob-paths.ts';
import { FileCache } from './file-cache.ts';
import { readFully } from './files.ts';
import { FsBlob } from './fs-blob.ts';
import { Rechecker } from './rechecker.ts';
import { StoreFolder, sampleOf } from './test-store.ts';

/** Tells when a file was let go of, before whoever let go of it goes on. */
class Files extends FileCache {
  onForgotten: () => Promise<unknown> = () => Promise.resolve();

  override async forget(path: string): Promise<void> {
    await super.forget(path);
    await this.onForgotten();
  }
}

it('a reader that outlives its blob does not open the file for the next one', async () => {
  await using folder = await StoreFolder.make();
  const { bytes, input } = sampleOf(4);
  const paths = new BlobPaths(folder.dataDir);
  const path = join(paths.chunked(input.digest), DATA_FILE);
  const write = async (content: Buffer): Promise<void> => {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  };
  await write(bytes);
  const proving = new Semaphore({ permits: 1, queueMax: 1 });
  const files = new Files();
  const chunks = input.hashes.length / HASH_BYTES;
  const have = ChunkBitmap.full(chunks);
  const pending = new ChunkBitmap(chunks);
  const blob = new FsBlob(
    input,
    { have, pending, bootId: 'boot', clean: true },
    {
      paths,
      files,
      rechecker: new Rechecker(folder),
      logger: folder.logger,
      makeRoom: () => Promise.resolve(false),
      proving,
      used: () => {},
      changed: () => {},
    },
  );
  const turn = await proving.acquire();
  const reading = blob.read(Buffer.alloc(9), 0);
  files.onForgotten = () => {
    turn[Symbol.dispose]();
    return Promise.allSettled([reading]);
  };
  await blob.remove();
  await assert.rejects(reading, (err) => hasCode(err, 'EVICTED'));
  const other = Buffer.from('another blob of that name');
  await write(other);
  const found = Buffer.alloc(other.length);
  await files.use(path, (file) => readFully(file, found, 0));
  assert.ok(found.equals(other));
  files.onForgotten = () => Promise.resolve();
  await files.close();
});

it('with no descriptor left, says of the file what reading it would', async () => {
  await using folder = await StoreFolder.make();
  const { input } = sampleOf(4);
  const failure = Object.assign(new Error('too many open files'), { code: 'EMFILE' });
  class Full extends FileCache {
    override use<T>(): Promise<T> {
      return Promise.reject(failure);
    }
  }
  const chunks = input.hashes.length / HASH_BYTES;
  const have = ChunkBitmap.full(chunks);
  const pending = new ChunkBitmap(chunks);
  const blob = new FsBlob(
    input,
    { have, pending, bootId: 'boot', clean: true, fresh: true },
    {
      paths: new BlobPaths(folder.dataDir),
      files: new Full(),
      rechecker: new Rechecker(folder),
      logger: folder.logger,
      makeRoom: () => Promise.resolve(false),
      proving: new Semaphore({ permits: 1, queueMax: 1 }),
      used: () => {},
      changed: () => {},
    },
  );
  await assert.rejects(blob.read(Buffer.alloc(9), 0), (err) => hasCode(err, 'IO'));
  const passed = blob.withFile(0, 9, () => Promise.resolve(9));
  await assert.rejects(passed, (err) => hasCode(err, 'IO'));
});
