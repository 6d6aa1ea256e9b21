import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { Ahead } from './ahead.ts';
import { AHEAD_QUESTIONS_MAX } from './constants.ts';
import { TestHub } from './test-hub.ts';
import { TestFleet } from './test-rig.ts';

const MIB = 1024 * 1024;
const UPSTREAM = { namespace: 'hub', repository: parseRepository('docker.io/library/app') };
const TAR = 'application/vnd.oci.image.layer.v1.tar';
const FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

type Layer = { name: string; mediaType?: string; size?: number };

function digestNamed(name: string): Digest {
  return digestOf(Buffer.from(name));
}

function imageOf(...layers: Layer[]): Buffer {
  const named = layers.map(({ name, mediaType = TAR, size = 9 * MIB }) => ({
    mediaType,
    digest: digestNamed(name),
    size,
  }));
  const type = 'application/vnd.oci.image.config.v1+json';
  const config = { mediaType: type, digest: digestNamed('config'), size: 2 };
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: named };
  return Buffer.from(JSON.stringify(manifest));
}

/** All that goes on has ended, or waits. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await setImmediate();
}

function room(o: { onNode?: string[]; fails?: boolean } = {}) {
  const fleet = new TestFleet();
  const hub = new TestHub();
  const told: Digest[] = [];
  const gate = Promise.withResolvers<void>();
  const ask = async (_repository: string, digest: Digest): Promise<void> => {
    told.push(digest);
    if (o.fails === true) throw new Error('an old hub');
    await gate.promise;
  };
  const source = Object.assign(hub, { ahead: ask });
  const has = (digest: Digest): boolean =>
    o.onNode?.some((name) => digestNamed(name) === digest) ?? false;
  const store = {
    find: () => undefined,
    growing: () => undefined,
    isOnNode: async (digest: Digest) => has(digest),
  };
  const sourceOf = (namespace: string) => (namespace === 'hub' ? source : undefined);
  const ahead = new Ahead({ store, sourceOf, logger: fleet.logger });
  return { ahead, told, gate };
}

test('the hub is told of the first layer that is not here and comes in chunks', async () => {
  const { ahead, told } = room({ onNode: ['base'] });
  ahead.notice(
    UPSTREAM,
    imageOf(
      { name: 'small', size: 4 * MIB },
      { name: 'foreign', mediaType: FOREIGN },
      { name: 'base' },
      { name: 'next' },
      { name: 'last' },
    ),
  );
  await settled();
  assert.deepEqual(told, [digestNamed('next')]);
});

test('nothing is told of what the hub does not bring from an upstream', async () => {
  const { ahead, told } = room();
  ahead.notice(
    { namespace: 'hub', repository: parseRepository('team/app') },
    imageOf({ name: 'a' }),
  );
  ahead.notice({ ...UPSTREAM, namespace: 'docker.io' }, imageOf({ name: 'a' }));
  ahead.notice(UPSTREAM, Buffer.from('no manifest'));
  ahead.notice(UPSTREAM, imageOf());
  await settled();
  assert.deepEqual(told, []);
});

test('so many questions are open at a time, and those that fail are over', async () => {
  const { ahead, told, gate } = room();
  const many = Array.from({ length: AHEAD_QUESTIONS_MAX + 2 }, (_, at) => `layer ${at}`);
  for (const name of many) ahead.notice(UPSTREAM, imageOf({ name }));
  await settled();
  assert.equal(told.length, AHEAD_QUESTIONS_MAX);
  gate.resolve();
  await settled();
  ahead.notice(UPSTREAM, imageOf({ name: 'later' }));
  await settled();
  assert.equal(told.at(-1), digestNamed('later'));
  const failing = room({ fails: true });
  for (const name of many) {
    failing.ahead.notice(UPSTREAM, imageOf({ name }));
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await settled();
  }
  assert.equal(failing.told.length, many.length);
});
