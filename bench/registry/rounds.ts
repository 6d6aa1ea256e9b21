import { cpuSeconds, forgetPeak, residentBytes } from '../rig/cpu.ts';
import { touchPages } from '../rig/page-cache.ts';
import { CPU, type HubRss, type Operation, type Samples } from './figures.ts';
import type { Load, Target } from './load.ts';
import type { RegistryBenchOptions } from './options.ts';
import type { Side } from './sides.ts';

const GB = 1e9;
const CONNECTIONS = 16;
const TAGS = 200;
const PAGE = 100;
const REPOSITORIES = 50;
const TEN_MB = 10_000_000;
const TEN_MB_PUSHES = 8;
const BLOB_BYTES = 64 * 1024;
const READ_REPOSITORY = 'bench/read';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
/** The large pushes fill the disk, and vary little. */
const LARGE_ROUNDS_MAX = 3;
const WARM_UP_SECONDS = 1;

const manifest = (): string => '/manifests/read-0';
const tags = (): string => `/tags/list?n=${PAGE}`;

type Reads = { target: Target; blob: string };
/** What one round does to each side, in turns. */
export type Step = {
  text: string;
  operation: Operation;
  run: (side: Side, round: number) => Promise<number>;
};

/** The work of the bench, on whichever registry. */
export class Rounds {
  readonly #options: RegistryBenchOptions;
  readonly #load: Load;
  readonly #folder: string;
  readonly #reads = new Map<Side, Reads>();
  readonly samples: { us: Samples; other: Samples } = { us: {}, other: {} };
  readonly sha256CpuPerGB: number[] = [];
  readonly hubRssBytesBy: HubRss = {};

  constructor(options: RegistryBenchOptions, modules: { load: Load; folder: string }) {
    this.#options = options;
    this.#load = modules.load;
    this.#folder = modules.folder;
  }

  /** Pushes what is read later, and has the compilers do their work. */
  async prepare(side: Side): Promise<void> {
    this.#noteMemory(side, 'start');
    await this.#prepare(side);
    this.#noteMemory(side, 'preparing');
  }

  steps(round: number): Step[] {
    const large = round <= LARGE_ROUNDS_MAX ? [this.#largeStep()] : [];
    return [...this.#readSteps(this.#options), ...this.#pushSteps(), ...large];
  }

  async measure({ operation, run }: Step, side: Side, round: number): Promise<void> {
    const value = await run(side, round);
    this.#noteMemory(side, operation);
    if (!Number.isNaN(value)) (this.samples[side.name][operation] ??= []).push(value);
  }

  async measureSha256(): Promise<void> {
    const bytes = this.#options.largeBytes;
    const { seconds } = await this.#load.run({ kind: 'sha256', bytes });
    this.sha256CpuPerGB.push((seconds / bytes) * GB);
  }

  /** What the hub held at most since the last note was for this. */
  #noteMemory({ name, pid }: Side, what: keyof HubRss): void {
    if (name !== 'us' || pid === undefined) return;
    const { peak } = residentBytes(pid);
    this.hubRssBytesBy[what] = Math.max(this.hubRssBytesBy[what] ?? 0, peak);
    forgetPeak(pid);
  }

  async #prepare(side: Side): Promise<void> {
    const { target } = side;
    const small = { kind: 'small-pushes', target, connections: CONNECTIONS } as const;
    const repositories = [READ_REPOSITORY];
    await this.#load.run({ ...small, repositories, count: TAGS, seed: 'read' });
    const blob = { kind: 'blobs', target, repository: READ_REPOSITORY } as const;
    const stored = await this.#load.run({ ...blob, bytes: BLOB_BYTES, count: 1, seed: 'read' });
    const pulling = await side.pulling(READ_REPOSITORY);
    this.#reads.set(side, { target: pulling, blob: stored.digest ?? '' });
    const warmUp = { ...this.#options, seconds: WARM_UP_SECONDS };
    for (const { operation, run } of this.#readSteps(warmUp)) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      if (operation !== CPU) await run(side, 0);
    }
  }

  #readSteps({ seconds }: { seconds: number }): Step[] {
    const repeat =
      (method: 'GET' | 'HEAD', pathOf: (reads: Reads) => string, accept?: string) =>
      async (side: Side): Promise<number> => {
        const reads = this.#reads.get(side);
        if (reads === undefined) throw new Error(`${side.name} was not prepared`);
        const result = await this.#load.run({
          kind: 'repeat',
          target: reads.target,
          method,
          path: `/v2/${READ_REPOSITORY}${pathOf(reads)}`,
          ...(accept === undefined ? {} : { accept }),
          connections: CONNECTIONS,
          seconds,
        });
        return result.count / result.seconds;
      };
    return [
      {
        text: 'GET of a manifest',
        operation: 'manifestGet',
        run: repeat('GET', manifest, MANIFEST),
      },
      {
        text: 'HEAD of a manifest',
        operation: 'manifestHead',
        run: repeat('HEAD', manifest, MANIFEST),
      },
      {
        text: 'GET of a blob',
        operation: 'blobGet',
        run: repeat('GET', ({ blob }) => `/blobs/${blob}`),
      },
      { text: 'list of tags', operation: 'tagList', run: repeat('GET', tags) },
    ];
  }

  #pushSteps(): Step[] {
    const { pushes, rounds } = this.#options;
    const count = Math.ceil(pushes / rounds);
    const many = Array.from({ length: REPOSITORIES }, (_, at) => `bench/spread-${at}`);
    const small =
      (repositories: readonly string[], name: string) =>
      async ({ target }: Side, round: number): Promise<number> => {
        const seed = `${name}-${round}`;
        const job = { kind: 'small-pushes', target, connections: CONNECTIONS } as const;
        const result = await this.#load.run({ ...job, repositories, count, seed });
        return result.count / result.seconds;
      };
    const tenMB = async ({ target }: Side, round: number): Promise<number> => {
      const job = { kind: 'blobs', target, repository: 'bench/ten', bytes: TEN_MB } as const;
      const seed = `ten ${round}`;
      const result = await this.#load.run({ ...job, count: TEN_MB_PUSHES, seed });
      return result.count / result.seconds;
    };
    return [
      { text: 'pushes of 10 MB', operation: 'push10MB', run: tenMB },
      {
        text: 'small pushes, spread',
        operation: 'smallPushesSpread',
        run: small(many, 'spread'),
      },
      {
        text: 'small pushes, one repository',
        operation: 'smallPushesOneRepo',
        run: small(['bench/one'], 'one'),
      },
    ];
  }

  #largeStep(): Step {
    const bytes = this.#options.largeBytes;
    const run = async ({ target, pid }: Side, round: number): Promise<number> => {
      if (pid === undefined) return Number.NaN;
      await touchPages(this.#folder, bytes);
      const before = cpuSeconds(pid);
      const seed = `large ${round}`;
      const job = { kind: 'blobs', target, repository: 'bench/large' } as const;
      await this.#load.run({ ...job, bytes, count: 1, seed });
      return ((cpuSeconds(pid) - before) / bytes) * GB;
    };
    return { text: 'a large push', operation: CPU, run };
  }
}
