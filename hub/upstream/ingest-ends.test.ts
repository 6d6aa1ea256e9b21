// What becomes of a blob whose bytes are all here while the catalog does not answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRepository } from '../../proto/oci/name.ts';
import { CatalogError } from '../catalog/errors.ts';
import { assertRefused, MIB } from '../registry/registry-fixture.ts';
import { bytesOf, Origin, sendRange, startPullHub } from './pull-fixture.ts';
import { PARK_BYTES } from './pull-constants.ts';

const APP = parseRepository('docker.io/library/app');
const OTHER = parseRepository('docker.io/library/other');

async function away(): Promise<never> {
  throw new CatalogError('the catalog does not answer', { code: 'CATALOG_UNAVAILABLE' });
}

test('wrong bytes are called so, though what was parked of them cannot be removed', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(PARK_BYTES + MIB);
  const digest = origin.putBlob('library/app', bytes);
  origin.blobFault = (asked, response) => {
    sendRange(asked, response, bytesOf(bytes.length, 'other'));
    return true;
  };
  const { hub } = await startPullHub(t, [origin], {
    with: (parts) => {
      parts.uploads.remove = away;
      return parts;
    },
  });
  const target = `/v2/${APP}/blobs/${digest}`;
  await assert.rejects(hub.ask(target), 'who reads it is cut');
  const wrong = 'upstream_ingests_total{upstream="docker.io",result="wrong"}';
  assert.equal(await hub.metric(wrong), 1);
  assertRefused(await hub.ask(target), 503, 'UNAVAILABLE');
  assert.equal(origin.count('GET', digest), 1, 'not asked again at once');
});

test('a blob that is stored is there, though a second repository cannot be given it', async (t) => {
  const origin = await Origin.start(t);
  const bytes = bytesOf(3 * MIB);
  const digest = origin.putBlob('library/app', bytes);
  const gate = Promise.withResolvers<void>();
  origin.blobFault = (asked, response) => {
    void gate.promise.then(() => sendRange(asked, response, bytes));
    return true;
  };
  const { hub, ingests } = await startPullHub(t, [origin], {
    with: (parts) => {
      parts.catalog.linkBlob = away;
      return parts;
    },
  });
  const both = [APP, OTHER].map((repository) => hub.ask(`/v2/${repository}/blobs/${digest}`));
  while (origin.asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
  gate.resolve();
  for (const { body } of await Promise.all(both)) assert.ok(body.equals(bytes));
  await ingests.find(APP, digest)?.outcome;
  const stored = 'upstream_ingests_total{upstream="docker.io",result="stored"}';
  assert.equal(await hub.metric(stored), 1);
});
