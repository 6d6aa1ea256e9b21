// A client in the network of one machine: one JSON line in, JSON lines out.
import { createInterface } from 'node:readline';
import { messageOf } from '../../proto/std/errors.ts';
import type { Machine } from '../../test/rig/network.ts';
import type { Running } from '../../test/rig/processes.ts';

const READY_TIMEOUT_MS = 60_000;

type ClientWord<Done> =
  | { kind: 'ready' }
  /** More bytes than said before. */
  | { kind: 'bytes'; bytes: number }
  | { kind: 'done'; result: Done }
  | { kind: 'failed'; reason: string };

/** A process in the network of one machine that does what it is told. */
export class Client<Task, Done> {
  /** Of the machine. */
  readonly name: string;
  readonly #process: Running;
  #listener: ((word: ClientWord<Done>) => void) | undefined;

  private constructor(name: string, running: Running) {
    this.name = name;
    this.#process = running;
    const { stdout } = running.child;
    if (stdout === null) throw new Error('the client has no standard output');
    createInterface({ input: stdout }).on('line', (line) => {
      if (!line.startsWith('{')) return;
      const word: ClientWord<Done> = JSON.parse(line);
      this.#listener?.(word);
    });
  }

  /**
   * `main`: a file that calls serveTasks. It has loaded its code and waits for a task when this
   * resolves.
   */
  static async start<Task, Done>(machine: Machine, main: string): Promise<Client<Task, Done>> {
    const name = `client on ${machine.name}`;
    const running = machine.start([process.execPath, main], { name });
    const client = new Client<Task, Done>(machine.name, running);
    await running.waitForOutput(/"ready"/, READY_TIMEOUT_MS);
    return client;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Carries a task out; throws when the client says that it failed, or ends. */
  async perform(task: Task, onBytes: (count: number) => void = () => {}): Promise<Done> {
    const { promise, resolve, reject } = Promise.withResolvers<Done>();
    this.#listener = (word) => {
      if (word.kind === 'bytes') onBytes(word.bytes);
      else if (word.kind === 'done') resolve(word.result);
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

/** The life of such a process: one task after the other, each in JSON, until its input ends. */
export async function serveTasks<Done>(
  perform: (task: string, onBytes: (count: number) => void) => Promise<Done>,
): Promise<never> {
  const tell = (word: ClientWord<Done>): void =>
    void process.stdout.write(`${JSON.stringify(word)}\n`);
  tell({ kind: 'ready' });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const result = await perform(line, (bytes) => tell({ kind: 'bytes', bytes }));
      tell({ kind: 'done', result });
    } catch (err) {
      tell({ kind: 'failed', reason: messageOf(err) });
    }
  }
  process.exit(0);
}
