import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { request } from 'undici';
import { startHub, type Hub } from '../../hub/hub.ts';
import { HubOptions } from '../../hub/options.ts';
import { Origin } from '../../hub/upstream/pull-fixture.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { createLogger } from '../../proto/ops/logger.ts';

const ADMIN = `Basic ${Buffer.from('admin:correct horse battery').toString('base64')}`;

async function start(t: TestContext, origin: Origin, dataDir: string): Promise<Hub> {
  const config = loadConfig(HubOptions, {
    text: JSON.stringify({
      http: { listen: ['127.0.0.1:0'] },
      ops: { listen: ['127.0.0.1:0'] },
      hub: { dataDir },
      access: { adminUsername: 'admin', adminPassword: 'correct horse battery' },
      upstreams: [
        { name: 'docker.io', url: origin.url, freshness: 'pinned', visibility: 'private' },
      ],
    }),
    env: {},
  });
  const logger = createLogger({ level: 'silent', name: 'test' });
  const hub = await startHub(config, { logger });
  t.after(() => hub.close());
  return hub;
}

async function ask(
  hub: Hub,
  target: string,
  options: { authorization?: string; body?: object } = {},
): Promise<{ status: number; bytes: Buffer }> {
  const { authorization = ADMIN, body } = options;
  const { statusCode, body: answer } = await request(new URL(target, hub.urls[0]), {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: statusCode, bytes: Buffer.from(await answer.arrayBuffer()) };
}

test('an upstream is a project with robots, and its content outlives a restart', async (t) => {
  const dataDir = path.join(await mkdtemp(path.join(tmpdir(), 'flotilla-pull-')), 'hub');
  t.after(() => rm(path.dirname(dataDir), { recursive: true, force: true }));
  const origin = await Origin.start(t);
  const { layer } = origin.putImage('library/app', 'latest');
  const hub = await start(t, origin, dataDir);
  const robot = await ask(hub, '/api/v1/projects/docker.io/robots', {
    body: { name: 'ci', permissions: [{ repository: 'docker.io/library/*', actions: ['pull'] }] },
  });
  assert.equal(robot.status, 201, robot.bytes.toString());
  const { login, secret }: { login: string; secret: string } = JSON.parse(robot.bytes.toString());
  const authorization = `Basic ${Buffer.from(`${login}:${secret}`).toString('base64')}`;
  const blob = `/v2/docker.io/library/app/blobs/${layer}`;
  for (const target of ['/v2/docker.io/library/app/manifests/latest', blob]) {
    assert.equal((await ask(hub, target, { authorization })).status, 200);
    assert.equal((await ask(hub, target, { authorization: '' })).status, 401);
  }
  const others = await ask(hub, '/v2/docker.io/team/app/manifests/latest', { authorization });
  assert.equal(others.status, 404);
  await hub.close();
  const asked = origin.asked.length;
  const again = await start(t, origin, dataDir);
  for (const target of ['/v2/docker.io/library/app/manifests/latest', blob]) {
    assert.equal((await ask(again, target)).status, 200);
  }
  assert.equal(origin.asked.length, asked);
});
