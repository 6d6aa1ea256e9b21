import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { TestGc } from './gc-fixture.ts';

const { signal } = new AbortController();
const stray = Buffer.from('stored, and the hub was killed');
const pushed = Buffer.from('stored again');
const kept = Buffer.from('kept');

test('bytes that a hub did not live to record are removed, unless they are pushed', async (t) => {
  const gc = await TestGc.start(t);
  await gc.pushImage([kept]);
  await gc.strand(stray);
  await gc.strand(pushed, 'sha512');
  assert.equal(await gc.searchOrphans(), 2);
  assert.equal(await gc.searchOrphans(), 0);
  const digest = digestOf(pushed, 'sha512');
  const target = `${await gc.registry.open()}?digest=${digest}`;
  assert.equal((await gc.registry.ask(target, { method: 'PUT', body: pushed })).status, 201);
  assert.equal((await gc.collector({ graceMs: 3_600_000 }).collect({}, { signal }))?.deleted, 1);
  assert.equal(await gc.isStored(stray), false);
  assert.equal((await gc.registry.ask(`/v2/team/app/blobs/${digest}`)).status, 200);
  assert.equal(await gc.head(kept), 200);
});
