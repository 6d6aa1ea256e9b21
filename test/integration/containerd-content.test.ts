import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { FsContentStore } from '../../agent/store/content-store.ts';
import { createStoreMetrics } from '../../agent/store/metrics.ts';
import { digestHex } from '../../proto/oci/digest.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { churnBytes, churnInput } from '../rig/churn.ts';
import { run, start } from '../rig/processes.ts';
import { findProgram } from '../rig/requirements.ts';
import { until } from '../rig/until.ts';

const READY_TIMEOUT_MS = 20_000;

function missing(): string | false {
  if (process.getuid?.() !== 0) return 'needs root, for containerd';
  const lacking = ['containerd', 'ctr'].filter((name) => findProgram(name) === undefined);
  return lacking.length > 0 && `needs ${lacking.join(', ')}: see test/rig/install.sh`;
}

/** A containerd that stores content, runs nothing, and collects garbage when content is removed. */
function configOf(folder: string): string {
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${folder}/sock"
[ttrpc]
  address = "${folder}/sock.ttrpc"
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "1h"
  deletion_threshold = 1
`;
}

test('a real containerd shares its content and takes it back', { skip: missing() }, async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-containerd-'));
  await mkdir(path.join(folder, 'store'));
  const config = path.join(folder, 'config.toml');
  await writeFile(config, configOf(folder));
  const containerd = start(['containerd', '--config', config], { name: 'containerd' });
  const ctr = (...args: string[]) => run(['ctr', '-a', path.join(folder, 'sock'), ...args]);
  const registry = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const content = path.join(folder, 'root', 'io.containerd.content.v1.content');
  let store: FsContentStore | undefined;
  try {
    await containerd.waitForOutput(/containerd successfully booted/, READY_TIMEOUT_MS);
    store = await FsContentStore.open(
      { dataDir: path.join(folder, 'store'), quotaBytes: 2 ** 30, containerdContent: content },
      {
        logger: createLogger({ level: 'silent', name: 'test' }),
        metrics: createStoreMetrics(registry),
      },
    );
    const [bytes, input] = [churnBytes(1), churnInput(1)];
    assert.equal(await store.isOnNode(input.digest), false);
    await writeFile(path.join(folder, 'layer'), bytes);
    const ingest = `ctr -a ${folder}/sock content ingest --expected-digest ${input.digest} layer`;
    await run(['sh', '-c', `${ingest} <${folder}/layer`]);
    const file = path.join(content, 'blobs', 'sha256', digestHex(input.digest));
    const before = await stat(file);
    const blob = await store.create(input);
    const into = Buffer.alloc(bytes.length);
    await blob.read(into, 0);
    assert.ok(into.equals(bytes));
    assert.equal(store.stats().reservedBytes, 0);
    const after = await stat(file);
    assert.deepEqual(
      [after.ino, after.mode, after.mtimeMs],
      [before.ino, before.mode, before.mtimeMs],
    );
    await ctr('content', 'rm', input.digest);
    await until('the file to be collected', READY_TIMEOUT_MS, async () => {
      const found = await stat(file).catch((err: unknown) => hasCode(err, 'ENOENT'));
      return found === true ? true : undefined;
    });
    await assert.rejects(blob.read(into, 0), (err) => hasCode(err, 'EVICTED'));
    await store.settled();
    assert.equal(store.find(input.digest), undefined);
    assert.match(await registry.text(), /store_node_lost_total\{reason="vanished"\} 1/);
  } finally {
    await store?.close();
    await containerd.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
