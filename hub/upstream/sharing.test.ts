import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRepository } from '../../proto/oci/name.ts';
import { assertRefused, MIB } from '../registry/registry-fixture.ts';
import { BlobStoreError } from '../blobs/errors.ts';
import type { BlobStore } from '../blobs/port.ts';
import { bytesOf, Origin, sendRange, startPullHub } from './pull-fixture.ts';

test('two repositories of a public upstream share one download', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(2 * MIB);
  const digest = origin.putBlob('library/a', bytes);
  origin.putBlob('library/b', bytes);
  const { hub, ingests } = await startPullHub(t, [origin]);
  const names = ['a', 'b'].map((name) => `/v2/docker.io/library/${name}/blobs/${digest}`);
  const answers = await Promise.all(names.map((name) => hub.ask(name)));
  for (const { body } of answers) assert.ok(body.equals(bytes));
  assert.equal(origin.count('GET', digest), 1);
  await ingests.find(parseRepository('docker.io/library/a'), digest)?.outcome;
  for (const name of names) assert.equal((await hub.ask(name, { method: 'HEAD' })).status, 200);
  assert.equal(origin.asked.length, 1);
});

test('naming a digest gives no right to the bytes of a private upstream', async (t) => {
  const secret = await Origin.start(t, 'private.example');
  const bytes = bytesOf(2 * MIB);
  const digest = secret.putBlob('team/secret', bytes);
  const { hub, ingests } = await startPullHub(t, [secret], { visibility: 'private' });
  const own = `/v2/private.example/team/secret/blobs/${digest}`;
  assert.ok((await hub.ask(own)).body.equals(bytes));
  await ingests.find(parseRepository('private.example/team/secret'), digest)?.outcome;
  for (const method of ['GET', 'HEAD'] as const) {
    const other = await hub.ask(`/v2/private.example/team/other/blobs/${digest}`, { method });
    assert.equal(other.status, 404);
  }
  assert.equal(await hub.catalog.blobIn('private.example/team/other', digest), undefined);
  secret.putBlob('team/other', bytes);
  const asked = await hub.ask(`/v2/private.example/team/other/blobs/${digest}`);
  assert.ok(asked.body.equals(bytes));
  assert.equal(secret.count('GET', `other/blobs/${digest}`), 2, 'it was asked whether it has it');
});

test('what is public here is given to another upstream without a download', async (t) => {
  const origin = await Origin.start(t, 'docker.io');
  const other = await Origin.start(t, 'quay.io');
  const bytes = bytesOf(2 * MIB);
  const digest = origin.putBlob('library/app', bytes);
  other.putImage('team/app', 'v1', bytes);
  const { hub, ingests } = await startPullHub(t, [origin, other]);
  await hub.ask(`/v2/docker.io/library/app/blobs/${digest}`);
  await ingests.find(parseRepository('docker.io/library/app'), digest)?.outcome;
  await hub.ask('/v2/quay.io/team/app/manifests/v1');
  assert.ok((await hub.ask(`/v2/quay.io/team/app/blobs/${digest}`)).body.equals(bytes));
  assert.equal(other.count('GET', digest) + other.count('HEAD', digest), 0);
  assert.equal(await hub.metric('upstream_linked_total'), 1);
});

test('to ask for what is public here under made-up names makes no repositories', async (t) => {
  const origin = await Origin.start(t, 'docker.io');
  const { layer } = origin.putImage('library/app', 'v1');
  const { hub, ingests } = await startPullHub(t, [origin]);
  await hub.ask('/v2/docker.io/library/app/manifests/v1');
  await hub.ask(`/v2/docker.io/library/app/blobs/${layer}`);
  await ingests.find(parseRepository('docker.io/library/app'), layer)?.outcome;
  for (const method of ['HEAD', 'GET'] as const) {
    const made = await hub.ask(`/v2/docker.io/made-up/${method.toLowerCase()}/blobs/${layer}`, {
      method,
    });
    assert.equal(made.status, 404);
  }
  assert.deepEqual(await hub.catalog.repositories({ n: 9 }), ['docker.io/library/app']);
});

test('an upstream that lies about a digest harms nobody who asks another for it', async (t) => {
  const honest = await Origin.start(t, 'docker.io');
  const hostile = await Origin.start(t, 'evil.example');
  const bytes = bytesOf(4 * MIB);
  const digest = honest.putBlob('library/app', bytes);
  hostile.putBlob('team/app', bytes);
  hostile.blobFault = (asked, response) => {
    sendRange(asked, response, bytesOf(bytes.length, 'evil'));
    return true;
  };
  const { hub } = await startPullHub(t, [honest, hostile]);
  const asked = await Promise.allSettled([
    hub.ask(`/v2/evil.example/team/app/blobs/${digest}`),
    hub.ask(`/v2/docker.io/library/app/blobs/${digest}`),
  ]);
  const [bad, good] = asked;
  assert.ok(good.status === 'fulfilled' && good.value.body.equals(bytes));
  assert.equal(bad.status, 'rejected');
  assert.ok((await hub.ask(`/v2/docker.io/library/app/blobs/${digest}`)).body.equals(bytes));
});

test('a full disk: bytes are passed on unstored; for the swarm alone it is a 503', async (t) => {
  for (const provisional of ['readers', 'swarm-only'] as const) {
    const origin = await Origin.start(t, 'docker.io', { provisional });
    const bytes = bytesOf(3 * MIB);
    const digest = origin.putBlob('library/app', bytes);
    const { hub } = await startPullHub(t, [origin], {
      with: ({ blobs, ...parts }) => ({ ...parts, blobs: withoutRoom(blobs) }),
    });
    const path = `/v2/docker.io/library/app/blobs/${digest}`;
    const answer = await hub.ask(path);
    if (provisional === 'swarm-only') assertRefused(answer, 503, 'UNAVAILABLE');
    else {
      assert.ok(answer.body.equals(bytes));
      const part = await hub.ask(path, { headers: { range: `bytes=${MIB}-${MIB + 9}` } });
      assert.ok(part.body.equals(bytes.subarray(MIB, MIB + 10)));
      assert.equal(await hub.metric('upstream_passed_on_total'), 2);
    }
    assert.equal(await hub.blobs.stat(digest), undefined);
  }
});

async function refuse(): Promise<never> {
  throw new BlobStoreError('full', { code: 'NO_SPACE', path: '/' });
}

/** The same store on a disk that takes no more. */
function withoutRoom(blobs: BlobStore): BlobStore {
  return new Proxy(blobs, {
    get: (store, key: keyof BlobStore) => {
      if (key === 'begin') return refuse;
      const value: unknown = store[key];
      return typeof value === 'function' ? value.bind(store) : value;
    },
  });
}
