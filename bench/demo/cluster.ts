import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { request } from 'undici';
import { sleep } from '../../proto/std/abort.ts';

export const HUB_NAME = 'hub.demo';
const ADMIN_PASSWORD = 'demo';
const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;
const LOG_TAIL_CHARS = 2000;
const TOKEN_LIFE_MS = 3_600_000;

/** One hub or agent as its own process. */
export type DemoProgram = { name: string; url: string; opsUrl: string; child: ChildProcess };
export type Cluster = {
  hub: DemoProgram;
  agents: DemoProgram[];
  credentials: { username: string; password: string };
  stop: () => Promise<void>;
};

/**
 * Starts a hub and `count` agents on loopback with data and logs under `folder`; all are ready
 * when this resolves.
 *
 * @throws Error with the end of the log of the program that did not start.
 */
export async function startCluster(folder: string, count: number): Promise<Cluster> {
  const started: DemoProgram[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(started.map(stopProgram));
  };
  try {
    const hub = await startHub(folder);
    started.push(hub);
    const tokenFile = path.join(folder, 'join-token');
    await writeFile(tokenFile, await joinToken(hub.url, count), { mode: 0o600 });
    const agents = await Promise.all(
      Array.from({ length: count }, async (_, i) => {
        const agent = await startAgent(folder, `agent-${i + 1}`, hub.url, tokenFile);
        started.push(agent);
        return agent;
      }),
    );
    return { hub, agents, stop, credentials: { username: 'admin', password: ADMIN_PASSWORD } };
  } catch (err) {
    await stop();
    throw err;
  }
}

async function startHub(folder: string): Promise<DemoProgram> {
  const [port, ops] = [await freePort(7400), await freePort(7401)];
  return startProgram(
    folder,
    'hub',
    'hub',
    { port, ops },
    {
      http: { listen: [`127.0.0.1:${port}`] },
      ops: { listen: [`127.0.0.1:${ops}`] },
      hub: { dataDir: path.join(folder, 'hub', 'data'), names: [HUB_NAME] },
      access: { adminPassword: ADMIN_PASSWORD },
    },
  );
}

async function startAgent(
  folder: string,
  name: string,
  hubUrl: string,
  joinTokenFile: string,
): Promise<DemoProgram> {
  const [port, ops, swarm] = [await freePort(0), await freePort(0), await freePort(0)];
  return startProgram(
    folder,
    'agent',
    name,
    { port, ops },
    {
      mirror: { listen: [`127.0.0.1:${port}`] },
      ops: { listen: [`127.0.0.1:${ops}`] },
      swarm: { listen: [`127.0.0.1:${swarm}`] },
      hub: { url: hubUrl, names: [HUB_NAME], joinTokenFile, node: name },
      store: { dataDir: path.join(folder, name, 'data') },
    },
  );
}

async function startProgram(
  folder: string,
  kind: 'hub' | 'agent',
  name: string,
  ports: { port: number; ops: number },
  config: object,
): Promise<DemoProgram> {
  const home = path.join(folder, name);
  await mkdir(home, { recursive: true });
  const file = path.join(home, 'config.yaml');
  await writeFile(file, JSON.stringify(config, undefined, 2), { mode: 0o600 });
  const logFile = path.join(home, 'log');
  const log = await open(logFile, 'a');
  const child = spawn(LAUNCHER, [kind, '--config', file], { stdio: ['ignore', log.fd, log.fd] });
  await log.close();
  const url = `http://127.0.0.1:${ports.port}`;
  const opsUrl = `http://127.0.0.1:${ports.ops}`;
  const program = { name, url, opsUrl, child };
  const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
  while (!(await isReady(opsUrl))) {
    if (child.exitCode !== null || child.signalCode !== null || signal.aborted) {
      await stopProgram(program);
      const text = await readFile(logFile, 'utf8');
      throw new Error(`${name} did not start; its log ends: ${text.slice(-LOG_TAIL_CHARS)}`);
    }
    await sleep(50);
  }
  return program;
}

async function isReady(opsUrl: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${opsUrl}/readyz`);
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}

async function joinToken(hubUrl: string, uses: number): Promise<string> {
  const basic = Buffer.from(`admin:${ADMIN_PASSWORD}`).toString('base64');
  const { statusCode, body } = await request(`${hubUrl}/api/v1/join-tokens`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}`, 'content-type': 'application/json' },
    body: JSON.stringify({ uses, expiresInMs: TOKEN_LIFE_MS }),
  });
  const answer: { token?: string } = JSON.parse(await body.text());
  if (answer.token === undefined) throw new Error(`the hub gave no join token (${statusCode})`);
  return answer.token;
}

async function stopProgram({ child }: DemoProgram): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(killer);
}

/** `wanted` if it is free on 127.0.0.1, else any free port. */
async function freePort(wanted: number): Promise<number> {
  const server = createServer();
  try {
    server.listen(wanted, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  } catch {
    return freePort(0);
  } finally {
    server.close();
  }
}
