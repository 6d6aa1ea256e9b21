import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { request } from 'undici';
import { sleep } from '../../proto/std/abort.ts';

const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const READY_TIMEOUT_MS = 30_000;
const READY_POLL_MS = 50;
const STOP_TIMEOUT_MS = 20_000;
const LOG_TAIL_CHARS = 2000;
const START_ATTEMPTS = 3;
const TOKEN_LIFE_MS = 3_600_000;

/** One hub or agent as its own process, in a group of its own: Ctrl-C is for the caller alone. */
export type Program = { name: string; url: string; opsUrl: string; child: ChildProcess };
export type Ports = { port: number; ops: number; swarm: number };
export type ProgramPlan = {
  kind: 'hub' | 'agent';
  name: string;
  /** The lowest port to use. */
  from: number;
  configOf: (ports: Ports) => object;
  /** A command that starts another, such as `taskset -c 1`. */
  wrap?: readonly string[];
  /** What is started instead of the launcher. */
  command?: readonly string[] | undefined;
};

/** Programs on loopback, with data, configuration and log under one folder; none outlives us. */
export class Programs {
  readonly #folder: string;
  readonly #signal: AbortSignal | undefined;
  readonly #children = new Set<ChildProcess>();
  readonly #taken = new Set<number>();

  constructor(folder: string, options: { signal?: AbortSignal } = {}) {
    this.#folder = folder;
    this.#signal = options.signal;
    // Before the folder is removed by whoever made it.
    process.prependOnceListener('exit', () => {
      for (const child of this.#children) if (isRunning(child)) child.kill('SIGKILL');
    });
  }

  /**
   * Starts a program; it is ready when this resolves.
   * @throws Error with the end of the log of one that did not start; the reason of the signal
   */
  async start(plan: ProgramPlan): Promise<Program> {
    const { name, from } = plan;
    const home = path.join(this.#folder, name);
    await mkdir(home, { recursive: true });
    const file = path.join(home, 'config.yaml');
    for (let attempt = 1; ; attempt += 1) {
      const port = await this.#freePort(from);
      const ops = await this.#freePort(from);
      const swarm = await this.#freePort(from);
      const config = plan.configOf({ port, ops, swarm });
      await writeFile(file, JSON.stringify(config, undefined, 2), { mode: 0o600 });
      const child = await this.#spawn(plan, file, path.join(home, 'log'));
      const opsUrl = `http://127.0.0.1:${ops}`;
      if (await this.#becomesReady(child, opsUrl)) {
        return { name, url: `http://127.0.0.1:${port}`, opsUrl, child };
      }
      await stopChild(child);
      const log = await readFile(path.join(home, 'log'), 'utf8');
      // Between the look for a free port and its use another program can take it.
      if (attempt < START_ATTEMPTS && log.includes('LISTEN_FAILED')) continue;
      throw new Error(`${name} did not start; its log ends: ${log.slice(-LOG_TAIL_CHARS)}`);
    }
  }

  /** Ends a program orderly, and by force when that takes too long. */
  async stop({ child }: Program): Promise<void> {
    await stopChild(child);
    this.#children.delete(child);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#children].map(stopChild));
  }

  async #spawn(plan: ProgramPlan, file: string, logFile: string): Promise<ChildProcess> {
    const { kind, wrap = [], command = [LAUNCHER] } = plan;
    const [first, ...args] = [...wrap, ...command, kind, '--config', file];
    await using log = await open(logFile, 'w');
    const stdio = ['ignore', log.fd, log.fd] as const;
    const child = spawn(first, args, { stdio: [...stdio], detached: true });
    this.#children.add(child);
    return child;
  }

  async #becomesReady(child: ChildProcess, opsUrl: string): Promise<boolean> {
    const limit = AbortSignal.timeout(READY_TIMEOUT_MS);
    const signal = this.#signal;
    while (!(await isReady(opsUrl))) {
      if (!isRunning(child) || limit.aborted) return false;
      await sleep(READY_POLL_MS, signal && { signal });
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

/** A join token of a hub for `uses` agents. */
export async function joinToken(
  hubUrl: string,
  adminPassword: string,
  uses: number,
  options: { signal?: AbortSignal } = {},
): Promise<string> {
  const basic = Buffer.from(`admin:${adminPassword}`).toString('base64');
  const { statusCode, body } = await request(`${hubUrl}/api/v1/join-tokens`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}`, 'content-type': 'application/json' },
    body: JSON.stringify({ uses, expiresInMs: TOKEN_LIFE_MS }),
    ...options,
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

/** Any free port of 127.0.0.1. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}
