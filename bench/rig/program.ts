import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { request } from 'undici';
import { sleep } from '../../proto/std/abort.ts';

const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 20_000;
const LOG_TAIL_CHARS = 2000;
const TOKEN_LIFE_MS = 3_600_000;

/** One hub or agent as its own process. */
export type Program = { name: string; url: string; opsUrl: string; child: ChildProcess };

/**
 * Starts a hub or an agent with its data, configuration and log under `folder/name`; it is ready
 * when this resolves. `wrap`: a command that starts another, such as `taskset -c 1`.
 *
 * @throws Error with the end of the log of a program that did not start.
 */
export async function startProgram(
  what: {
    folder: string;
    kind: 'hub' | 'agent';
    name: string;
    port: number;
    ops: number;
    wrap?: readonly string[];
    /** What is started instead of the launcher. */
    command?: readonly string[];
  },
  config: object,
): Promise<Program> {
  const { folder, kind, name, wrap = [], command = [LAUNCHER] } = what;
  const home = path.join(folder, name);
  await mkdir(home, { recursive: true });
  const file = path.join(home, 'config.yaml');
  await writeFile(file, JSON.stringify(config, undefined, 2), { mode: 0o600 });
  const logFile = path.join(home, 'log');
  const log = await open(logFile, 'a');
  const words = [...wrap, ...command, kind, '--config', file];
  const child = spawn(words[0] ?? LAUNCHER, words.slice(1), { stdio: ['ignore', log.fd, log.fd] });
  await log.close();
  const url = `http://127.0.0.1:${what.port}`;
  const opsUrl = `http://127.0.0.1:${what.ops}`;
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

/** A join token for `uses` agents. */
export async function joinToken(
  hubUrl: string,
  adminPassword: string,
  uses: number,
): Promise<string> {
  const basic = Buffer.from(`admin:${adminPassword}`).toString('base64');
  const { statusCode, body } = await request(`${hubUrl}/api/v1/join-tokens`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic}`, 'content-type': 'application/json' },
    body: JSON.stringify({ uses, expiresInMs: TOKEN_LIFE_MS }),
  });
  const answer: { token?: string } = JSON.parse(await body.text());
  if (answer.token === undefined) throw new Error(`the hub gave no join token (${statusCode})`);
  return answer.token;
}

/** Ends the program orderly, and by force when that takes too long. */
export async function stopProgram({ child }: Program): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(killer);
}

/** `wanted` if it is free on 127.0.0.1, else any free port. */
export async function freePort(wanted: number): Promise<number> {
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
