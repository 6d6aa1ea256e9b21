import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { request } from 'undici';
import { loadConfig } from '../proto/ops/config.ts';
import { createLogger } from '../proto/ops/logger.ts';
import { digestOf } from '../proto/oci/digest.ts';
import { KeyRing } from '../proto/trust/key-ring.ts';
import { formatJoinToken, newJoinToken } from '../proto/trust/join-token.ts';
import { startAgent } from './agent.ts';
import type { Agent } from './agent.ts';
import { AgentOptions } from './options.ts';

const LOGGER = createLogger({ level: 'silent', name: 'agent' });
const DIGEST = digestOf(Buffer.from('anything'));

/** An agent on free ports of loopback that is ended with its folder. */
async function agentWith(sections: Record<string, object>): Promise<Agent & AsyncDisposable> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'flotilla-agent-'));
  const text = JSON.stringify({
    mirror: { listen: ['127.0.0.1:0'] },
    ops: { listen: ['127.0.0.1:0'] },
    swarm: { listen: ['127.0.0.1:0'] },
    store: { dataDir },
    ...sections,
  });
  const config = loadConfig(AgentOptions, { text, env: {} });
  const remove = () => rm(dataDir, { recursive: true, force: true });
  try {
    const agent = await startAgent(config, { logger: LOGGER });
    const dispose = async (): Promise<void> => {
      await agent.close();
      await remove();
    };
    return { ...agent, [Symbol.asyncDispose]: dispose };
  } catch (err) {
    await remove();
    throw err;
  }
}

async function status(url: string): Promise<number> {
  const response = await request(url);
  await response.body.dump();
  return response.statusCode;
}

function joinToken(): string {
  const ring = KeyRing.create(Date.now());
  return formatJoinToken(newJoinToken(ring.fingerprint()));
}

test('a lone agent is ready, and has nothing', async () => {
  await using agent = await agentWith({});
  const [mirror] = agent.mirrorUrls;
  assert.equal(await status(`${agent.opsUrls[0]}/readyz`), 200);
  assert.equal(await status(`${mirror}/v2/`), 200);
  assert.equal(await status(`${mirror}/v2/app/manifests/v1`), 404);
  assert.equal(await status(`${mirror}/v2/app/blobs/${DIGEST}`), 404);
});

test('with the hub away the runtime is sent on at once', async () => {
  const hub = { url: 'http://127.0.0.1:9', joinToken: joinToken(), node: 'n1' };
  await using agent = await agentWith({ hub });
  const [mirror] = agent.mirrorUrls;
  assert.notEqual(agent.peerId, '');
  assert.equal(await status(`${mirror}/v2/app/manifests/v1`), 503);
  assert.equal(await status(`${mirror}/v2/app/blobs/${DIGEST}`), 503);
});

test('an agent whose swarm cannot start serves', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const address = taken.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const hub = { url: 'http://127.0.0.1:9', joinToken: joinToken(), node: 'n1' };
  await using agent = await agentWith({ hub, swarm: { listen: [`127.0.0.1:${port}`] } });
  const ready = await request(`${agent.opsUrls[0]}/readyz`);
  assert.match(await ready.body.text(), /no swarm/);
  assert.equal(await status(`${agent.mirrorUrls[0]}/v2/`), 200);
  taken.close();
});

test('a draining agent is not ready and takes no new pulls', async () => {
  await using agent = await agentWith({});
  await agent.drain(new AbortController().signal);
  assert.equal(await status(`${agent.opsUrls[0]}/readyz`), 503);
  assert.equal(await status(`${agent.mirrorUrls[0]}/v2/`), 503);
});

test('what an operator got wrong stops the start', async () => {
  const plain = { url: 'http://hub.example:7400', joinToken: joinToken(), node: 'n1' };
  await assert.rejects(agentWith({ hub: plain }), { code: 'CONFIG_INVALID', message: /hub\.url/ });
  const url = 'https://registry.example';
  const twice = [
    { name: 'docker.io', url },
    { name: 'index.docker.io', url },
  ];
  await assert.rejects(agentWith({ upstreams: twice }), /upstreams\[1\]\.name/);
});
