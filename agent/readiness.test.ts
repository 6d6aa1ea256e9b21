import assert from 'node:assert/strict';
import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { loadConfig } from '../proto/ops/config.ts';
import type { FleetStatus } from './fleet/fleet.ts';
import { AgentOptions } from './options.ts';
import { readiness } from './readiness.ts';
import type { AgentHealth } from './readiness.ts';

const JOINED: FleetStatus = {
  enrolled: true,
  online: true,
  lastError: undefined,
  members: 3,
  expiresAtMs: 1,
};
const HEALTHY: AgentHealth = { draining: false, status: JOINED, inSwarm: true, upMs: 60_000 };
let dataDir = '';

before(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'flotilla-ready-'));
  await mkdir(path.join(dataDir, 'content'));
});
after(() => rm(dataDir, { recursive: true }));

function check(health: AgentHealth, sections: Record<string, object> = {}) {
  const text = JSON.stringify({ hub: { url: 'https://hub' }, store: { dataDir }, ...sections });
  return readiness(loadConfig(AgentOptions, { text, env: {} }), health);
}

test('a healthy agent is ready and has nothing to tell', async () => {
  assert.deepEqual(await check(HEALTHY), { ok: true, reasons: [] });
});

test('a lone agent is ready', async () => {
  const alone = { ...HEALTHY, status: undefined, inSwarm: false };
  assert.deepEqual(await check(alone, { hub: {} }), { ok: true, reasons: [] });
});

test('without hub, membership or swarm it is ready and says what is missing', async () => {
  const offline = await check({ ...HEALTHY, status: { ...JOINED, online: false } });
  assert.equal(offline.ok, true);
  assert.match(offline.reasons.join(), /hub does not answer/);
  const status = { ...JOINED, enrolled: false, lastError: 'refused' };
  const outside = await check({ ...HEALTHY, status, inSwarm: false, upMs: 0 });
  assert.equal(outside.ok, true);
  assert.match(outside.reasons.join(), /not enrolled yet: refused,no swarm/);
});

test('a node that is just joining waits a moment for its membership', async () => {
  const status = { ...JOINED, enrolled: false };
  assert.equal((await check({ ...HEALTHY, status, upMs: 100 })).ok, false);
  assert.equal((await check({ ...HEALTHY, status, upMs: 5_000 })).ok, true);
});

test('a draining agent, or one that lost its store, is not ready', async () => {
  assert.equal((await check({ ...HEALTHY, draining: true })).ok, false);
  const lost = await check(HEALTHY, { store: { dataDir: path.join(dataDir, 'gone') } });
  assert.equal(lost.ok, false);
  assert.match(lost.reasons.join(), /store is not writable/);
});
