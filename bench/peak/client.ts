import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Machine } from '../../test/rig/network.ts';
import type { Running } from '../../test/rig/processes.ts';
import type { PushTarget } from '../demo/push.ts';

const MAIN = path.join(import.meta.dirname, 'client-main.ts');
const READY_TIMEOUT_MS = 60_000;
const NS_PER_MS = 1e6;

export type PullTask = {
  kind: 'pull';
  mirror: string;
  namespace: string;
  repository: string;
  tag: string;
};

export type PushTask = PushTarget & {
  kind: 'push';
  layers: readonly { fileBytes: number; keyHex: string }[];
};

/** Plain TCP: the sender says `bytes` once when it listens, then serves one connection. */
export type PlainTask = {
  kind: 'plain';
  role: 'send' | 'receive';
  /** Of the sender. */
  host: string;
  port: number;
  bytes: number;
};

export type ClientTask = PullTask | PushTask | PlainTask;

export type ClientWord =
  | { kind: 'ready' }
  /** More bytes of the image than said before. */
  | { kind: 'bytes'; bytes: number }
  /** The whole image is here and every digest is right, since `atMs` on the machine's clock. */
  | { kind: 'done'; bytes: number; atMs: number }
  | { kind: 'failed'; reason: string };

/** A clock that all processes of this machine share, in milliseconds. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / NS_PER_MS;
}

/** A process in the network of one machine that pulls or pushes when told. */
export class Client {
  readonly name: string;
  readonly #process: Running;
  #listener: ((word: ClientWord) => void) | undefined;

  private constructor(name: string, running: Running) {
    this.name = name;
    this.#process = running;
    const { stdout } = running.child;
    if (stdout === null) throw new Error('the client has no standard output');
    createInterface({ input: stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const word: ClientWord = JSON.parse(line);
      this.#listener?.(word);
    });
  }

  /** It has loaded its code and waits for a task when this resolves. */
  static async start(machine: Machine): Promise<Client> {
    const name = `client on ${machine.name}`;
    const running = machine.start([process.execPath, MAIN], { name });
    const client = new Client(machine.name, running);
    await running.waitForOutput(/"ready"/, READY_TIMEOUT_MS);
    return client;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Carries a task out; throws when the client says that it failed, or ends. */
  async perform(
    task: ClientTask,
    onBytes: (count: number) => void = () => {},
  ): Promise<{ bytes: number; atMs: number }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ bytes: number; atMs: number }>();
    this.#listener = (word) => {
      if (word.kind === 'bytes') onBytes(word.bytes);
      else if (word.kind === 'done') resolve(word);
      else if (word.kind === 'failed') reject(new Error(`${this.name}: ${word.reason}`));
    };
    void this.#process.exited.then(() =>
      reject(new Error(`the client on ${this.name} ended: ${this.#process.output().slice(-2000)}`)),
    );
    this.#process.child.stdin?.write(`${JSON.stringify(task)}\n`);
    return await promise;
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}
