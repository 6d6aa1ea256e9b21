import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import type { WriteStream } from 'node:fs';

/** Characters of output kept in memory per process; the whole goes to the log file. */
const TAIL_CHARACTERS_MAX = 1024 * 1024;
const RUN_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 15_000;

export type Exit = { code: number | undefined; signal: NodeJS.Signals | undefined };

export type StartOptions = {
  name: string;
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Everything the process prints is also appended here. */
  logFile?: string;
};

const living = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

/** A long-running program of the rig. It is killed, by its pid, when the test process ends. */
export class Running {
  readonly name: string;
  readonly exited: Promise<Exit>;
  readonly child: ChildProcess;
  #tail = '';
  #exit: Exit | undefined;
  #log: WriteStream | undefined;
  #listeners = new Set<() => void>();

  constructor(command: readonly string[], options: StartOptions) {
    const [program, ...args] = command;
    if (program === undefined) throw new Error(`no program given for ${options.name}`);
    this.name = options.name;
    this.child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      cwd: options.cwd,
    });
    if (options.logFile !== undefined)
      this.#log = createWriteStream(options.logFile, { flags: 'a' });
    this.child.stdin?.on('error', () => {});
    living.add(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => this.#take(text));
    }
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.exited = promise;
    const finish = (exit: Exit): void => {
      living.delete(this.child);
      this.#exit ??= exit;
      this.#log?.end();
      resolve(this.#exit);
      this.#wake();
    };
    this.child.on('error', (err) => {
      this.#take(`${err.message}\n`);
      finish({ code: 127, signal: undefined });
    });
    this.child.on('close', (code, signal) =>
      finish({ code: code ?? undefined, signal: signal ?? undefined }),
    );
  }

  get pid(): number {
    const { pid } = this.child;
    if (pid === undefined) throw new Error(`${this.name} did not start: ${this.#tail}`);
    return pid;
  }

  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** The last MiB of what the process printed, both streams. */
  output(): string {
    return this.#tail;
  }

  /** Resolves when the output matches; rejects when the process ends first or time is up. */
  async waitForOutput(pattern: RegExp, timeoutMs: number): Promise<RegExpMatchArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpMatchArray>();
    const look = (): void => {
      const match = this.#tail.match(pattern);
      if (match) resolve(match);
      else if (this.#exit) reject(new Error(this.#story(`ended before it printed ${pattern}`)));
    };
    const timer = setTimeout(() => {
      reject(new Error(this.#story(`did not print ${pattern} within ${timeoutMs} ms`)));
    }, timeoutMs);
    this.#listeners.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(look);
    }
  }

  /** Sends a signal; false when the process is gone. */
  kill(signal: NodeJS.Signals): boolean {
    return this.#exit === undefined && this.child.kill(signal);
  }

  /** SIGTERM, and SIGKILL when that was not obeyed in time. */
  async stop(timeoutMs: number = STOP_TIMEOUT_MS): Promise<Exit> {
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), timeoutMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  #take(text: string): void {
    this.#log?.write(text);
    this.#tail = (this.#tail + text).slice(-TAIL_CHARACTERS_MAX);
    this.#wake();
  }

  #wake(): void {
    for (const listener of this.#listeners) listener();
  }

  #story(what: string): string {
    return `${this.name} ${what}; the end of its output:\n${this.#tail.slice(-4000)}`;
  }
}

export function start(command: readonly string[], options: StartOptions): Running {
  return new Running(command, options);
}

export type RunOptions = {
  env?: Record<string, string | undefined>;
  cwd?: string;
  input?: string;
  timeoutMs?: number;
};

export type RunResult = { code: number; stdout: string; stderr: string };

/** Runs a program to its end and returns what it printed, whatever its exit code. */
export async function attempt(
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const [program = '', ...args] = command;
  const timeoutMs = options.timeoutMs ?? RUN_TIMEOUT_MS;
  const child = spawn(program, args, {
    stdio: 'pipe',
    env: { ...process.env, ...options.env },
    cwd: options.cwd,
  });
  living.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, timeoutMs);
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (value) => resolve(value ?? -1));
    });
    if (late) throw new Error(`${command.join(' ')} took more than ${timeoutMs} ms: ${stderr}`);
    return { code, stdout, stderr };
  } finally {
    clearTimeout(timer);
    living.delete(child);
  }
}

/** Like attempt, but an exit code other than 0 is an error that quotes the output. */
export async function run(
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await attempt(command, options);
  if (result.code !== 0) {
    const text = `${result.stderr}${result.stdout}`.slice(-4000);
    throw new Error(`${command.join(' ')} ended with exit code ${result.code}: ${text}`);
  }
  return result;
}
