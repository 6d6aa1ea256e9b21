import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Machine } from '../../test/rig/network.ts';
import type { Running } from '../../test/rig/processes.ts';
import type { Pull } from './figures.ts';
import type { PullTask } from './pull.ts';

const MAIN = path.join(import.meta.dirname, 'client-main.ts');
const READY_TIMEOUT_MS = 60_000;

export type ClientWord =
  | { kind: 'ready' }
  | { kind: 'done'; pull: Pull }
  | { kind: 'failed'; reason: string };

/** A process in the network of one machine that pulls when told. */
export class Client {
  readonly #name: string;
  readonly #process: Running;
  #listener: ((word: ClientWord) => void) | undefined;

  private constructor(name: string, running: Running) {
    this.#name = name;
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
    const client = new Client(name, running);
    await running.waitForOutput(/"ready"/, READY_TIMEOUT_MS);
    return client;
  }

  /** @throws Error when the client says that it failed, or ends */
  async pull(task: PullTask): Promise<Pull> {
    const { promise, resolve, reject } = Promise.withResolvers<Pull>();
    this.#listener = (word) => {
      if (word.kind === 'done') resolve(word.pull);
      else if (word.kind === 'failed') reject(new Error(`${this.#name}: ${word.reason}`));
    };
    void this.#process.exited.then(() =>
      reject(new Error(`${this.#name} ended: ${this.#process.output().slice(-2000)}`)),
    );
    this.#process.child.stdin?.write(`${JSON.stringify(task)}\n`);
    return await promise;
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }
}
