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
const READY_POLL_MS = 50;
const STOP_TIMEOUT_MS = 20_000;
const LOG_TAIL_CHARS = 2000;
const START_ATTEMPTS = 3;
const HUB_PORT = 7400;
/** Agent n begins at 7400 + 10 n: mirror, ops and libp2p in the order of the default ports. */
const PORT_STEP = 10;
const TOKEN_LIFE_MS = 3_600_000;

/** One hub or agent as its own process, in a group of its own: Ctrl-C is for the demo alone. */
export type DemoProgram = { name: string; url: string; opsUrl: string };
export type Cluster = {
  hub: DemoProgram;
  agents: DemoProgram[];
  credentials: { username: string; password: string };
  stop: () => Promise<void>;
};

/**
 * Starts a hub and `count` agents on loopback with data and logs under `folder`; all are ready
 * when this resolves. None outlives this process.
 *
 * @throws Error with the end of the log of the program that did not start; the reason of `signal`
 */
export async function startCluster(
  folder: string,
  count: number,
  { signal }: { signal: AbortSignal },
): Promise<Cluster> {
  const start = new Starter(folder, signal);
  try {
    const hub = await start.hub();
    const tokenFile = path.join(folder, 'join-token');
    await writeFile(tokenFile, await joinToken(hub.url, count, signal), { mode: 0o600 });
    const agents = await Promise.all(
      Array.from({ length: count }, (_, i) => start.agent(i + 1, hub.url, tokenFile)),
    );
    const stop = (): Promise<void> => start.stop();
    return { hub, agents, stop, credentials: { username: 'admin', password: ADMIN_PASSWORD } };
  } catch (err) {
    await start.stop();
    throw err;
  }
}

type Ports = { port: number; ops: number; swarm: number };

class Starter {
  readonly #folder: string;
  readonly #signal: AbortSignal;
  readonly #children: ChildProcess[] = [];
  readonly #taken = new Set<number>();

  constructor(folder: string, signal: AbortSignal) {
    this.#folder = folder;
    this.#signal = signal;
    process.once('exit', () => {
      for (const child of this.#children) if (isRunning(child)) child.kill('SIGKILL');
    });
  }

  hub(): Promise<DemoProgram> {
    return this.#program('hub', 'hub', HUB_PORT, ({ port, ops }) => ({
      http: { listen: [`127.0.0.1:${port}`] },
      ops: { listen: [`127.0.0.1:${ops}`] },
      hub: { dataDir: path.join(this.#folder, 'hub', 'data'), names: [HUB_NAME] },
      access: { adminPassword: ADMIN_PASSWORD },
    }));
  }

  agent(number: number, hubUrl: string, joinTokenFile: string): Promise<DemoProgram> {
    const name = `agent-${number}`;
    const from = HUB_PORT + PORT_STEP * number;
    return this.#program('agent', name, from, ({ port, ops, swarm }) => ({
      mirror: { listen: [`127.0.0.1:${port}`] },
      ops: { listen: [`127.0.0.1:${ops}`] },
      swarm: { listen: [`127.0.0.1:${swarm}`], lanePort: 0 },
      hub: { url: hubUrl, names: [HUB_NAME], joinTokenFile, node: name },
      store: { dataDir: path.join(this.#folder, name, 'data') },
    }));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#children.map(stopChild));
  }

  async #program(
    kind: 'hub' | 'agent',
    name: string,
    from: number,
    configOf: (ports: Ports) => object,
  ): Promise<DemoProgram> {
    const home = path.join(this.#folder, name);
    await mkdir(home, { recursive: true });
    const file = path.join(home, 'config.yaml');
    for (let attempt = 1; ; attempt += 1) {
      const port = await this.#freePort(from);
      const ops = await this.#freePort(from);
      const swarm = await this.#freePort(from);
      const config = configOf({ port, ops, swarm });
      await writeFile(file, JSON.stringify(config, undefined, 2), { mode: 0o600 });
      const child = await this.#spawn(kind, file, path.join(home, 'log'));
      const opsUrl = `http://127.0.0.1:${ops}`;
      if (await this.#becomesReady(child, opsUrl)) {
        return { name, url: `http://127.0.0.1:${port}`, opsUrl };
      }
      await stopChild(child);
      const log = await readFile(path.join(home, 'log'), 'utf8');
      // Between the look for a free port and its use another program can take it.
      if (attempt < START_ATTEMPTS && log.includes('LISTEN_FAILED')) continue;
      throw new Error(`${name} did not start; its log ends: ${log.slice(-LOG_TAIL_CHARS)}`);
    }
  }

  async #spawn(kind: string, file: string, logFile: string): Promise<ChildProcess> {
    await using log = await open(logFile, 'w');
    const stdio = ['ignore', log.fd, log.fd] as const;
    const child = spawn(LAUNCHER, [kind, '--config', file], { stdio: [...stdio], detached: true });
    this.#children.push(child);
    return child;
  }

  async #becomesReady(child: ChildProcess, opsUrl: string): Promise<boolean> {
    const limit = AbortSignal.timeout(READY_TIMEOUT_MS);
    while (!(await isReady(opsUrl))) {
      if (!isRunning(child) || limit.aborted) return false;
      await sleep(READY_POLL_MS, { signal: this.#signal });
    }
    return true;
  }

  /** The first port from `from` that is free on 127.0.0.1 and was not given out before. */
  async #freePort(from: number): Promise<number> {
    let port = from;
    while (this.#taken.has(port)) port += 1;
    this.#taken.add(port);
    return (await isFree(port)) ? port : this.#freePort(port);
  }
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

async function joinToken(hubUrl: string, uses: number, signal: AbortSignal): Promise<string> {
  const basic = Buffer.from(`admin:${ADMIN_PASSWORD}`).toString('base64');
  const { statusCode, body } = await request(`${hubUrl}/api/v1/join-tokens`, {
    method: 'POST',
    signal,
    headers: { authorization: `Basic ${basic}`, 'content-type': 'application/json' },
    body: JSON.stringify({ uses, expiresInMs: TOKEN_LIFE_MS }),
  });
  const answer: { token?: string } = JSON.parse(await body.text());
  if (answer.token === undefined) throw new Error(`the hub gave no join token (${statusCode})`);
  return answer.token;
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(killer);
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}
