import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

/** A registry as the clients see it. */
export type Target = { url: string; authorization: string | undefined };

/** What the clients are asked to do. */
export type Job =
  | {
      /** The same request again and again over all connections. */
      kind: 'repeat';
      target: Target;
      method: 'GET' | 'HEAD';
      path: string;
      accept?: string;
      connections: number;
      seconds: number;
    }
  | {
      /** Small images: two blobs and a manifest with a tag each. */
      kind: 'small-pushes';
      target: Target;
      repositories: readonly string[];
      count: number;
      connections: number;
      /** Not the same content as in a job of another seed. */
      seed: string;
    }
  | {
      kind: 'blobs';
      target: Target;
      repository: string;
      bytes: number;
      count: number;
      seed: string;
    }
  | { kind: 'sha256'; bytes: number };

/** Seconds are of the clock, but of the CPU for `sha256`. */
export type JobResult = { count: number; seconds: number; digest?: string };
export type JobAnswer = JobResult | { error: string };

/** The clients: one process, whose CPU is not counted. */
export class Load implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<JobAnswer>;

  constructor() {
    this.#child = fork(path.join(import.meta.dirname, 'load-main.ts'));
    this.#ended = once(this.#child, 'exit').then(() => ({ error: 'the clients ended' }));
  }

  /** @throws Error with what the registry did not do */
  async run(job: Job): Promise<JobResult> {
    const { promise: answered, resolve } = Promise.withResolvers<JobAnswer>();
    this.#child.once('message', resolve);
    this.#child.send(job);
    const answer = await Promise.race([answered, this.#ended]);
    if ('error' in answer) throw new Error(answer.error);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill();
    await this.#ended;
  }
}
