import { appendFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Machine } from './network.ts';
import { start, type Running } from './processes.ts';
import { findProgram } from './requirements.ts';
import type { Scratch } from './scratch.ts';

const READY_TIMEOUT_MS = 20_000;

type Place = { host: string; port: number };

/** Debian's tinyproxy on a machine of the test network: CONNECT to port 443, for one account. */
export class Tinyproxy {
  readonly #running: Running;

  private constructor(running: Running) {
    this.#running = running;
  }

  /** `names`: host names that it resolves and nobody else, with their addresses. */
  static async start(
    scratch: Scratch,
    machine: Machine,
    { host, port }: Place,
    account: { username: string; password: string },
    names: Readonly<Record<string, string>>,
  ): Promise<Tinyproxy> {
    const folder = await scratch.make('tinyproxy');
    const config = path.join(folder, 'tinyproxy.conf');
    const lines = [
      `Port ${port}`,
      `Listen ${host}`,
      `BasicAuth ${account.username} ${account.password}`,
      'LogLevel Info',
      'Timeout 600',
      'MaxClients 100',
      'ConnectPort 443',
    ];
    await writeFile(config, `${lines.join('\n')}\n`);
    const hosts = Object.entries(names).map(([name, address]) => `${address} ${name}\n`);
    await appendFile(machine.hostsFile, hosts.join(''));
    const command = [findProgram('tinyproxy') ?? 'tinyproxy', '-d', '-c', config];
    const running = start(machine.insideWithNames(command), { name: 'tinyproxy' });
    await running.waitForOutput(/Accepting connections|Starting main loop/, READY_TIMEOUT_MS);
    return new Tinyproxy(running);
  }

  /** Every `host:port` it was to connect to so far. */
  get asked(): string[] {
    return [...this.#running.output().matchAll(/: CONNECT (\S+) HTTP/g)].map(([, to = '']) => to);
  }

  async stop(): Promise<void> {
    await this.#running.stop();
  }
}
