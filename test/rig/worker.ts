import path from 'node:path';
import { createInterface } from 'node:readline';
import { Value } from 'typebox/value';
import type { Machine } from './network.ts';
import type { Running } from './processes.ts';
import { WorkerAnswer } from './worker-protocol.ts';
import type { FaultTask, WorkerResult, WorkerTask } from './worker-protocol.ts';

const MAIN = path.join(import.meta.dirname, 'worker-main.ts');
const READY_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 30_000;

export type HttpOptions = {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  timeoutMs?: number;
};

export type HttpAnswer = {
  status: number;
  headers: Record<string, string>;
  /** At most the first 4 MiB. */
  body: Buffer;
  bodyBytes: number;
  bodySha256: string;
};

type Waiting = { resolve: (result: WorkerResult) => void; reject: (err: Error) => void };

/** A process inside one machine's network that sends requests and runs the faulting proxy. */
export class Worker {
  readonly #process: Running;
  readonly #machine: Machine;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  private constructor(machine: Machine, running: Running) {
    this.#machine = machine;
    this.#process = running;
    const { stdout } = running.child;
    if (stdout === null) throw new Error('the worker has no standard output');
    createInterface({ input: stdout }).on('line', (line) => this.#take(line));
    void this.#watch();
  }

  static async start(machine: Machine): Promise<Worker> {
    const running = machine.start([process.execPath, MAIN], { name: `worker on ${machine.name}` });
    const worker = new Worker(machine, running);
    await running.waitForOutput(/^ready$/m, READY_TIMEOUT_MS);
    return worker;
  }

  /** Sends one HTTP request on a connection of its own. Throws when no whole answer came. */
  async http(url: string, options: HttpOptions = {}): Promise<HttpAnswer> {
    const { body, ...rest } = options;
    const result = await this.#ask({
      kind: 'http',
      url,
      timeoutMs: REQUEST_TIMEOUT_MS,
      ...rest,
      ...(body === undefined ? {} : { body: Buffer.from(body).toString('base64') }),
    });
    return {
      status: result.status ?? 0,
      headers: result.headers ?? {},
      body: Buffer.from(result.body ?? '', 'base64'),
      bodyBytes: result.bodyBytes ?? 0,
      bodySha256: result.bodySha256 ?? '',
    };
  }

  /** Sends bytes as they are; returns what came back and whether the other side hung up. */
  async raw(
    target: { host: string; port: number },
    bytes: string | Uint8Array,
    timeoutMs: number,
  ): Promise<{ answer: string; closed: boolean }> {
    const encoded = Buffer.from(bytes).toString('base64');
    const result = await this.#ask({ kind: 'raw', ...target, bytes: encoded, timeoutMs });
    const answer = Buffer.from(result.body ?? '', 'base64').toString('latin1');
    return { answer, closed: result.closed ?? false };
  }

  /** Opens a proxy on this machine in front of another port. */
  async openProxy(options: { listenPort: number; host: string; port: number }): Promise<void> {
    await this.#ask({ kind: 'proxy', ...options });
  }

  async setFault(fault: Omit<FaultTask, 'kind'>): Promise<void> {
    await this.#ask({ kind: 'fault', ...fault });
  }

  async faultsApplied(): Promise<number> {
    const result = await this.#ask({ kind: 'fault-count' });
    return result.count ?? 0;
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }

  async #ask(task: WorkerTask): Promise<WorkerResult> {
    const { promise, resolve, reject } = Promise.withResolvers<WorkerResult>();
    const id = (this.#lastId += 1);
    if (this.#process.exit) throw new Error(`the worker on ${this.#machine.name} has ended`);
    this.#waiting.set(id, { resolve, reject });
    this.#process.child.stdin?.write(`${JSON.stringify({ id, task })}\n`);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(id);
    }
  }

  async #watch(): Promise<void> {
    await this.#process.exited;
    const story = this.#process.output().slice(-2000);
    for (const { reject } of this.#waiting.values()) {
      reject(new Error(`the worker on ${this.#machine.name} ended: ${story}`));
    }
  }

  #take(line: string): void {
    if (!line.startsWith('{')) return;
    const { id, error, ...result } = Value.Parse(WorkerAnswer, JSON.parse(line));
    if (error === undefined) this.#waiting.get(id)?.resolve(result);
    else this.#waiting.get(id)?.reject(new Error(`${error} (on ${this.#machine.name})`));
  }
}
