import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { digestHex } from '../../proto/oci/digest.ts';
import { postgresForTests } from '../rig/postgres.ts';
import { until } from '../rig/until.ts';
import { sharedKeys } from './shared-keys.ts';
import { TestHub } from './test-hub.ts';

const COLLECTED_MS = 30_000;
const { skip, server: postgres } = postgresForTests();

test('a hub on PostgreSQL collects its own folder and no other', { skip }, async (t) => {
  const server = await postgres();
  const database = await server.createDatabase();
  const sections = {
    catalog: { url: server.url(database), tls: 'off' },
    fleet: await sharedKeys(t),
    gc: { grace: '10m', quarantine: '0s' },
  };
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-hub-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const first = await TestHub.start(sections, { folder, keep: true });
  const hex = digestHex(await first.push(randomBytes(5000)));
  const file = path.join(folder, 'registry', 'blobs', 'sha256', hex.slice(0, 2), hex);
  await server.query(database, 'update repository_blob set unused_since_ms = 1');
  await first[Symbol.asyncDispose]();
  await using other = await TestHub.start(sections);
  const refused = await other.api('POST', '/gc/runs');
  assert.equal(refused.status, 409);
  assert.match(refused.body.toString(), /folder of another hub.*--adopt/);
  await access(file);
  await using again = await TestHub.start(sections, { folder, keep: true });
  assert.equal((await again.api('POST', '/gc/runs')).status, 202);
  await until('the collection ends', COLLECTED_MS, async () => {
    const { last } = (await again.api('GET', '/gc')).json;
    return Object(last).result === 'ok' ? true : undefined;
  });
  await assert.rejects(access(file), { code: 'ENOENT' });
});
