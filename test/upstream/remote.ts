import path from 'node:path';
import { createInterface } from 'node:readline';
import { start, type Running, type StartOptions as Spawning } from '../rig/processes.ts';
import type { Answer, Call, StartOptions } from './calls.ts';
import type { FaultRule } from './faults.ts';
import type { AddedImage, ImagePlan } from './images.ts';
import type { PullLimit } from './pull-counts.ts';
import type { Report } from './request-log.ts';

const MAIN = path.join(import.meta.dirname, 'main.ts');
const READY_TIMEOUT_MS = 30_000;

type Spawn = (command: readonly string[], options: Spawning) => Running;
type Waiting = { resolve: (result: unknown) => void; reject: (err: Error) => void };

/** The stand-in of Docker Hub in a process of its own, perhaps in another network. */
export class RemoteDockerHub {
  readonly #options: StartOptions;
  readonly #spawn: Spawn;
  readonly #waiting = new Map<number, Waiting>();
  /** What a new process is told first, so that it has what the one before had. */
  readonly #kept: Call[] = [];
  #running: Running | undefined;
  #lastId = 0;
  /** Of registry, token service and CDN, once it has started. */
  urls = { url: '', tokenUrl: '', cdnUrl: '' };

  /** `spawn` starts a program where the stand-in shall run. */
  constructor(options: StartOptions, spawn: Spawn = start) {
    this.#options = options;
    this.#spawn = spawn;
  }

  /** Starts it, or starts it again with the images it had; counts begin anew. */
  async start(): Promise<void> {
    const command = [process.execPath, MAIN, JSON.stringify(this.#options)];
    const running = this.#spawn(command, { name: 'stand-in of Docker Hub' });
    this.#running = running;
    const { stdout } = running.child;
    if (stdout === null) throw new Error('the stand-in has no standard output');
    createInterface({ input: stdout }).on('line', (line) => this.#take(line));
    void running.exited.then(() => this.#fail(running));
    const [, urls = ''] = await running.waitForOutput(/^ready (.*)$/m, READY_TIMEOUT_MS);
    this.urls = JSON.parse(urls);
    for (const call of this.#kept) await this.#ask(call);
  }

  async addImage(plan: ImagePlan): Promise<AddedImage> {
    return await this.#keep<AddedImage>({ call: 'addImage', plan });
  }

  /** Lets a tag name something else, or nothing any more. */
  async tag(repository: string, tag: string, digest?: string): Promise<void> {
    await this.#keep({ call: 'tag', repository, tag, ...(digest !== undefined && { digest }) });
  }

  async own(repository: string, account: string): Promise<void> {
    await this.#keep({ call: 'own', repository, account });
  }

  /** What goes wrong from now on, instead of what did before. */
  async fault(...rules: FaultRule[]): Promise<void> {
    await this.#ask({ call: 'fault', rules });
  }

  /** What an address without an account may pull; undefined: as much as it wants. */
  async limit(limit: PullLimit | undefined): Promise<void> {
    await this.#ask({ call: 'limit', ...(limit && { limit }) });
  }

  async report(): Promise<Report> {
    return await this.#ask<Report>({ call: 'report' });
  }

  async forget(): Promise<void> {
    await this.#ask({ call: 'forget' });
  }

  /** Ends it at once, whatever it is sending. */
  async kill(): Promise<void> {
    this.#running?.kill('SIGKILL');
    await this.#running?.exited;
  }

  async #keep<T>(call: Call): Promise<T> {
    this.#kept.push(call);
    return await this.#ask<T>(call);
  }

  async #ask<T>(call: Call): Promise<T> {
    const running = this.#running;
    if (running === undefined || running.exit) throw new Error('the stand-in does not run');
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = (this.#lastId += 1);
    this.#waiting.set(id, { resolve, reject });
    running.child.stdin?.write(`${JSON.stringify({ id, ...call })}\n`);
    try {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the program's own answer
      return (await promise) as T;
    } finally {
      this.#waiting.delete(id);
    }
  }

  #take(line: string): void {
    if (!line.startsWith('{')) return;
    const { id, result, error }: Answer = JSON.parse(line);
    if (error === undefined) this.#waiting.get(id)?.resolve(result);
    else this.#waiting.get(id)?.reject(new Error(`the stand-in: ${error}`));
  }

  #fail(running: Running): void {
    const story = running.output().slice(-2000);
    for (const { reject } of this.#waiting.values()) reject(new Error(`it ended: ${story}`));
  }
}
