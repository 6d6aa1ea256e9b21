// Two hubs on one catalog and one store that know each other, in one process.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import type { TestRegistry } from '../registry/registry-fixture.ts';
import { ownerAmong, standingOf } from '../replicas/rendezvous.ts';
import { TestReplicas, type TestReplica } from '../replicas/replicas-fixture.ts';
import { bytesOf, startPullHub, type Origin } from './pull-fixture.ts';

export type Hubs = {
  a: TestRegistry;
  b: TestRegistry;
  replicas: TestReplicas;
  all: TestReplica[];
  /** By name, those that came in later too. */
  hubs: ReadonlyMap<string, TestRegistry>;
  /** How much later it is for all but the first. */
  later: { ms: number };
};

/** Two hubs on one catalog and one store that know each other. */
export async function twoHubs(t: TestContext, origin: Origin): Promise<Hubs> {
  const hubs = new Map<string, TestRegistry>();
  const later = { ms: 0 };
  const replicas = new TestReplicas(t, {
    prepare: async ({ id: holder, replicas: own }) => {
      const [beside] = hubs.values();
      const { ring } = replicas;
      const options = { holder, replicas: own, shared: true, ring };
      const second = { ...options, now: () => Date.now() + later.ms };
      const rig = await startPullHub(t, [origin], beside ? { ...second, beside } : options);
      hubs.set(holder, rig.hub);
    },
  });
  const all = await replicas.start('a', 'b');
  const [a, b] = hubs.values();
  assert.ok(a && b);
  return { a, b, replicas, all, hubs, later };
}

/** A blob that hub `a` owns. */
export function ownedByA(
  { replicas }: Hubs,
  origin: Origin,
  size: number,
): { bytes: Buffer; digest: Digest } {
  const owned = bytesThat(size, (digest) => ownerOf(digest, ['a', 'b']) === 'a');
  assert.equal(replicas.all.length, 2);
  return { bytes: owned, digest: origin.putBlob('library/app', owned) };
}

/** Bytes with a digest as it should be. */
export function bytesThat(size: number, isSo: (digest: Digest) => boolean): Buffer {
  for (let n = 0; ; n += 1) {
    const bytes = bytesOf(size, String(n));
    if (isSo(digestOf(bytes))) return bytes;
  }
}

/** Which of these hubs owns a digest when they are all there are. */
export function ownerOf(digest: Digest, names: readonly string[]): string | undefined {
  return ownerAmong(
    names.map((id) => standingOf(id)),
    digest,
  )?.id;
}
