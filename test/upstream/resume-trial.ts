// A hub that is killed while it fetches a blob from an upstream, on any pair of drivers.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { PARK_BYTES } from '../../hub/upstream/pull-constants.ts';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { until } from '../rig/until.ts';
import { entryOf, hubInFront, standIn, type HubInFront } from './hub-in-front.ts';

const MIB = 1024 ** 2;
const SIZE = 40 * MIB;
const BYTES_PER_SECOND = 12 * MIB;
const LONG_MS = 60_000;
const BASE = '/v2/docker.io/library/app';

/**
 * Parts of a blob are read while it comes; the hub is killed, and the next one goes on by Range
 * with what was parked. `sections`: where catalog and blobs are.
 */
export async function resumesBlob(t: TestContext, sections: object): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-resume-'));
  let hub: HubInFront | undefined;
  t.after(async () => {
    await hub?.kill();
    await rm(folder, { recursive: true });
  });
  const upstream = await standIn(t);
  const layers = [{ seed: 'resumed', bytes: SIZE }];
  const platforms = [{ os: 'linux', architecture: 'amd64', layers }];
  const plan = { repository: 'library/app', tags: ['v1'], platforms, index: false };
  const image = upstream.shelf.addImage(plan);
  const [layer] = image.manifests[0]?.layers ?? [];
  assert.ok(layer);
  const { digest, size } = layer;
  const fault = { kind: 'slow', bytesPerSecond: BYTES_PER_SECOND } as const;
  upstream.fault({ on: { kind: 'blob', name: digest }, fault });
  const sent = (): number => upstream.report().blobs[digest]?.bytes ?? 0;
  const start = async (): Promise<HubInFront> => {
    hub = await hubInFront(t, [entryOf('docker.io', upstream)], { folder, sections });
    return hub;
  };
  const readsWhileItComes = async (by: HubInFront, from: number): Promise<void> => {
    const range = `bytes=${from}-${from + MIB - 1}`;
    const part = await by.get(`${BASE}/blobs/${digest}`, { range });
    assert.ok(sent() < size, 'the part came before the whole');
    const wanted = Buffer.concat([
      ...(upstream.shelf.blobs.get(digest)?.read(from, from + MIB) ?? []),
    ]);
    assert.deepEqual([part.status, part.body.equals(wanted)], [206, true], range);
  };

  const first = await start();
  assert.equal((await first.get(`${BASE}/manifests/v1`)).status, 200);
  const broken = first.get(`${BASE}/blobs/${digest}`);
  broken.catch(() => {});
  await readsWhileItComes(first, 3 * MIB);
  // What comes after it is written when that was parked.
  await until('a part is parked', LONG_MS, async () => {
    const got = await first.metric('flotilla_hub_upstream_ingest_bytes_total');
    return got > PARK_BYTES + LEAF_BYTES ? true : undefined;
  });
  await first.kill();
  assert.equal((await broken).whole, false, 'killed in the middle');
  const before = sent();

  const second = await start();
  const whole = second.get(`${BASE}/blobs/${digest}`);
  whole.catch(() => {});
  await readsWhileItComes(second, 5 * MIB);
  const answer = await whole;
  assert.deepEqual([answer.status, answer.whole, answer.sha256], [200, true, digest]);
  const gets = upstream.entries.filter((one) => one.host === 'cdn' && one.digest === digest);
  assert.deepEqual(
    gets.map(({ status }) => status),
    [200, 206],
  );
  const offset = Number(/^bytes=(\d+)-/.exec(gets[1]?.range ?? '')?.[1]);
  assert.ok(offset >= PARK_BYTES && offset <= before, `went on at ${offset} of ${before}`);
  assert.equal(gets[1]?.bytes, size - offset);
}
