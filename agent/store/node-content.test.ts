import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, open, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { digestHex, digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import { CHUNKED } from './blob-paths.ts';
import { NodeBlob } from './node-blob.ts';
import { NodeContent } from './node-content.ts';
import { StoreFolder, readAll, sampleOf } from './test-store.ts';
import type { Sample } from './test-store.ts';

/** A store, and the content folder of a containerd beside it. */
class Node implements AsyncDisposable {
  readonly folder: StoreFolder;
  readonly content: string;

  private constructor(folder: StoreFolder) {
    this.folder = folder;
    this.content = join(folder.dataDir, 'containerd', 'content');
  }

  static async make(): Promise<Node> {
    const node = new Node(await StoreFolder.make());
    await mkdir(join(node.content, 'blobs', 'sha256'), { recursive: true });
    return node;
  }

  path(digest: Digest): string {
    return join(this.content, 'blobs', 'sha256', digestHex(digest));
  }

  /** Stores as containerd does: made elsewhere, renamed, read only. */
  async put(bytes: Buffer, digest = digestOf(bytes)): Promise<string> {
    const ingest = join(this.content, 'ingest');
    await writeFile(ingest, bytes, { mode: 0o444 });
    await rename(ingest, this.path(digest));
    return this.path(digest);
  }

  start() {
    return this.folder.start({ containerdContent: this.content, quotaBytes: LEAF_BYTES });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder[Symbol.asyncDispose]();
  }
}

async function put(node: Node): Promise<Sample & { path: string }> {
  const sample = sampleOf(5);
  return { ...sample, path: await node.put(sample.bytes) };
}

describe('content that containerd has', () => {
  it('is shared without a second copy, and over a restart', async () => {
    await using node = await Node.make();
    const { bytes, input, path } = await put(node);
    const before = await stat(path);
    const first = await node.start();
    const blob = await first.create(input);
    assert.ok(blob.complete && blob.servable);
    assert.ok((await readAll(blob)).equals(bytes));
    assert.deepEqual(
      [...first.list()].map(({ digest }) => digest),
      [input.digest],
    );
    assert.equal(first.stats().reservedBytes, 0);
    await first.close();
    const second = await node.start();
    const again = second.find(input.digest);
    assert.ok(again !== undefined && (await readAll(again)).equals(bytes));
    assert.deepEqual(await readdir(join(node.folder.dataDir, CHUNKED)).catch(() => []), []);
    const after = await stat(path);
    for (const key of ['ino', 'mode', 'size', 'mtimeMs', 'ctimeMs', 'nlink'] as const) {
      assert.equal(after[key], before[key], `${key} of the file changed`);
    }
  });

  it('is given only where its chunk hashes right, and not at all after that', async () => {
    await using node = await Node.make();
    const { bytes, input, path } = await put(node);
    const store = await node.start();
    const blob = await store.create(input);
    await using file = await open(path, 'r+');
    await file.write(Buffer.from('wrong'), 0, 5, 2 * LEAF_BYTES + 5);
    const into = Buffer.alloc(9);
    await blob.read(into, LEAF_BYTES);
    assert.ok(into.equals(bytes.subarray(LEAF_BYTES, LEAF_BYTES + 9)));
    const lost: number[] = [];
    using listening = blob.onChange((index) => void lost.push(index));
    void listening;
    await assert.rejects(blob.read(into, 2 * LEAF_BYTES), (err) => hasCode(err, 'EVICTED'));
    assert.deepEqual(lost, [0, 1, 2, 3, 4, 5], 'those who were told of it are told');
    await assert.rejects(blob.read(into, LEAF_BYTES));
    await store.settled();
    assert.equal(store.find(input.digest), undefined);
    assert.equal(await store.isOnNode(input.digest), false, 'nobody tries that file again');
    assert.equal(await node.folder.metric('store_node_lost_total{reason="damaged"}'), 1);
  });

  it('is not had any more once containerd has deleted it', async () => {
    await using node = await Node.make();
    const { input, path } = await put(node);
    const other = await put(node);
    const store = await node.start();
    const blob = await store.create(input);
    await store.create(other.input);
    await rm(path);
    await assert.rejects(blob.read(Buffer.alloc(9), 0), (err) => hasCode(err, 'EVICTED'));
    await rm(other.path);
    await store.lookAtNode();
    await store.settled();
    assert.equal(store.find(input.digest), undefined);
    assert.equal(store.find(other.input.digest), undefined);
    assert.equal(await node.folder.metric('store_node_lost_total{reason="vanished"}'), 2);
    assert.equal(store.stats().blobs, 0);
  });

  it('that was deleted while nobody ran is not had after a restart', async () => {
    await using node = await Node.make();
    const { input, path } = await put(node);
    const first = await node.start();
    await first.create(input);
    await first.close();
    await rm(path);
    const second = await node.folder.start({ containerdContent: node.content });
    await second.lookAtNode();
    await second.settled();
    assert.equal(second.find(input.digest), undefined);
  });

  it('is proved anew when another file has taken the name', async () => {
    await using node = await Node.make();
    const { bytes, input, path } = await put(node);
    const store = await node.start();
    const blob = await store.create(input);
    await readAll(blob);
    await rm(path);
    await node.put(Buffer.alloc(bytes.length), input.digest);
    await assert.rejects(blob.read(Buffer.alloc(9), 0), (err) => hasCode(err, 'EVICTED'));
    await store.settled();
    const again = await store.create(input);
    await assert.rejects(again.read(Buffer.alloc(9), 0), (err) => hasCode(err, 'EVICTED'));
  });

  it('that cannot be opened for a moment is not called wrong', async () => {
    await using node = await Node.make();
    const { bytes, input } = await put(node);
    let opens = 0;
    class Content extends NodeContent {
      override async identity(digest: Digest): Promise<string | undefined> {
        opens += 1;
        return opens === 1 ? undefined : super.identity(digest);
      }
    }
    const lost: string[] = [];
    const blob = new NodeBlob(input, {
      content: new Content(node.content),
      proving: new Semaphore({ permits: 1, queueMax: 1 }),
      used: () => {},
      lost: (why) => void lost.push(why),
      remove: () => Promise.resolve(),
      save: () => Promise.resolve(),
    });
    const into = Buffer.alloc(bytes.length);
    await assert.rejects(blob.read(into, 0), (err) => hasCode(err, 'EVICTED'));
    assert.deepEqual(lost, ['vanished']);
  });

  it('is not read through links, wherever they are, nor from anything but a file', async () => {
    await using node = await Node.make();
    const { bytes, input, path } = await put(node);
    const elsewhere = join(node.folder.dataDir, 'elsewhere');
    await cp(join(node.content, 'blobs'), elsewhere, { recursive: true });
    const store = await node.start();
    assert.equal(await store.isOnNode(input.digest), true);
    await rm(path);
    await symlink(join(elsewhere, 'sha256', digestHex(input.digest)), path);
    assert.equal(await store.isOnNode(input.digest), false, 'a link for the file');
    await rm(path);
    await mkdir(path);
    assert.equal(await store.isOnNode(input.digest), false, 'a folder for the file');
    await rm(join(node.content, 'blobs'), { recursive: true });
    await symlink(elsewhere, join(node.content, 'blobs'));
    assert.equal(await store.isOnNode(input.digest), false, 'a link for a folder');
    const small = randomBytes(100);
    await writeFile(join(elsewhere, 'sha256', digestHex(digestOf(small))), small);
    assert.equal(await store.getSmall(digestOf(small)), undefined);
    await rm(join(node.content, 'blobs'));
    await cp(elsewhere, join(node.content, 'blobs'), { recursive: true });
    const whole = join(node.folder.dataDir, 'whole');
    await symlink(node.content, whole);
    const linked = await node.folder.start({ containerdContent: whole, quotaBytes: LEAF_BYTES });
    const blob = await linked.create(input);
    assert.ok((await readAll(blob)).equals(bytes), 'the folder itself may be reached by a link');
  });

  it('answers for small blobs when their digest is right', async () => {
    await using node = await Node.make();
    const [good, bad] = [randomBytes(3000), randomBytes(3000)];
    await node.put(good);
    await node.put(randomBytes(3000), digestOf(bad));
    const store = await node.start();
    assert.ok((await store.getSmall(digestOf(good)))?.equals(good));
    assert.equal(await store.getSmall(digestOf(bad)), undefined);
    assert.equal(store.stats().blobs, 0);
  });
});
