import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { MetricsSnapshot } from './metrics.ts';
import type { Machine } from './network.ts';
import type { Exit, Running } from './processes.ts';
import { until } from './until.ts';
import type { Worker } from './worker.ts';

const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const READY_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 40_000;

export const HUB_PORT = 7400;
export const HUB_OPS_PORT = 7401;
export const MIRROR_PORT = 7410;
export const AGENT_OPS_PORT = 7411;

/** A config file as data. JSON is YAML, so it is written as JSON. */
export type Config = Record<string, unknown>;
export type ConfigFile = Record<string, Config | readonly Config[]>;

/** One hub or agent on a machine of the test network, started as a user starts it. */
export class Program {
  readonly kind: 'hub' | 'agent';
  readonly machine: Machine;
  readonly folder: string;
  readonly worker: Worker;
  /** The command instead of the launcher, for agents that misbehave on purpose. */
  command: readonly string[];
  readonly #opsPort: number;
  readonly #config: ConfigFile;
  readonly #env: Record<string, string | undefined>;
  #running: Running | undefined;
  readonly #usual: readonly string[];

  constructor(options: {
    kind: 'hub' | 'agent';
    machine: Machine;
    folder: string;
    worker: Worker;
    config: ConfigFile;
    /** Where its metrics are; the usual place if left out. */
    opsPort?: number;
    /** Variables of its environment beside those of this process. */
    env?: Record<string, string | undefined> | undefined;
  }) {
    this.kind = options.kind;
    this.machine = options.machine;
    this.folder = options.folder;
    this.worker = options.worker;
    this.#usual = [LAUNCHER, options.kind];
    this.command = this.#usual;
    this.#config = options.config;
    this.#env = options.env ?? {};
    const usualPort = options.kind === 'hub' ? HUB_OPS_PORT : AGENT_OPS_PORT;
    this.#opsPort = options.opsPort ?? usualPort;
  }

  get running(): Running {
    if (this.#running === undefined) throw new Error(`${this.name} was never started`);
    return this.#running;
  }

  get name(): string {
    return `${this.kind} on ${this.machine.name}`;
  }

  get opsUrl(): string {
    return `http://${this.machine.loopbackHost}:${this.#opsPort}`;
  }

  /** Starts, or starts again with the same data; ready when this resolves. */
  async start(): Promise<void> {
    const file = path.join(this.folder, 'config.yaml');
    await writeFile(file, JSON.stringify(this.#config, undefined, 2));
    const running = this.machine.start([...this.command, '--config', file], {
      name: this.name,
      logFile: path.join(this.folder, 'log'),
      env: this.#env,
    });
    this.#running = running;
    await until(`${this.name} ready`, READY_TIMEOUT_MS, async () => {
      if (running.exit) throw new Error(`${this.name} ended at once: ${running.output()}`);
      const answer = await this.worker.http(`${this.opsUrl}/readyz`).catch(() => undefined);
      return answer?.status === 200 ? true : undefined;
    });
  }

  async stop(): Promise<Exit> {
    return this.running.stop(STOP_TIMEOUT_MS);
  }

  /** What a power cut does to the process. */
  async kill(): Promise<void> {
    this.running.kill('SIGKILL');
    await this.running.exited;
  }

  /** Runs the usual program again when a test stopped, killed, halted or replaced it. */
  async restore(): Promise<void> {
    this.running.kill('SIGCONT');
    if (this.command !== this.#usual) await this.stop();
    this.command = this.#usual;
    if (this.running.exit) await this.start();
  }

  async metrics(): Promise<MetricsSnapshot> {
    const answer = await this.worker.http(`${this.opsUrl}/metrics`);
    return new MetricsSnapshot(answer.body.toString());
  }
}
