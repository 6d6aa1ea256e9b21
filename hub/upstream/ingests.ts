import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { abortable } from '../../proto/std/abort.ts';
import { CodedError, hasCode } from '../../proto/std/errors.ts';
import type { OpenBlob } from '../blobs/port.ts';
import { BufferMemory } from '../registry/buffer-memory.ts';
import { UpstreamAway } from '../registry/pull-through.ts';
import type { Ingest } from './ingest.ts';
import { IngestRun, type IngestRunModules, type IngestTarget } from './ingest-run.ts';
import { Negatives } from './negatives.ts';
import type { Ingests, RunningIngest, UpstreamPlace } from './port.ts';
import {
  AHEAD_MAX,
  AHEAD_MS,
  FULL_PAUSE_MS,
  INGEST_BATCH_BYTES,
  INGEST_BATCH_MIN_BYTES,
  INGEST_REPOSITORIES_MAX,
  INGESTS_MAX,
  INGESTS_MEMORY_BYTES,
  WRONG_PAUSE_MS,
} from './pull-constants.ts';
import { Wish } from './wish.ts';

type Options = {
  /** This hub among those that share the catalog. */
  holder: string;
  /** ms since 1970. */
  now: () => number;
  ingestsMax?: number;
  stallMs?: number;
};

type Modules = Omit<IngestRunModules, 'memory'> & {
  /** Whether everybody may read a repository. */
  isPublic: (repository: string) => Promise<boolean>;
};

type Running = { started: Promise<IngestRun>; ended: Promise<void>; wish: Wish };

/**
 * Blobs on their way to this hub, each fetched once however many ask for it. A blob of a public
 * upstream is fetched once for all repositories of it, one of a private upstream once for each
 * repository: naming a digest gives no right to it. Upstreams never share: the bytes of one that
 * lies must not be read in the name of another.
 */
export class UpstreamIngests implements Pick<Ingests, 'find'> {
  readonly #options: Options;
  readonly #modules: Modules;
  readonly #memory = new BufferMemory({
    totalBytes: INGESTS_MEMORY_BYTES,
    minBytes: INGEST_BATCH_MIN_BYTES,
    maxBytes: INGEST_BATCH_BYTES,
  });
  readonly #end = new AbortController();
  readonly #running = new Map<string, Running>();
  /** By repository and digest, of those whose size is known. */
  readonly #named = new Map<string, Ingest>();
  readonly #wrong: Negatives;
  /** Those that nobody wants yet. */
  #ahead = 0;
  #fullUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: Options, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
    this.#wrong = new Negatives({ now: options.now });
  }

  get count(): number {
    return this.#running.size;
  }

  /** Whether the storage had no room left a moment ago. */
  get isFull(): boolean {
    return this.#options.now() < this.#fullUntilMs;
  }

  find(repository: string, digest: Digest): RunningIngest | undefined {
    return this.#named.get(`${repository} ${digest}`);
  }

  /**
   * Reads a blob that is on its way, and sets it on its way if it is not.
   * @throws OciError BLOB_UNKNOWN, UNAVAILABLE; CodedError HELD_ELSEWHERE when another hub goes on
   * with it; CatalogError PURGED; errors of the upstream and of the store
   */
  async open(
    place: UpstreamPlace,
    digest: Digest,
    { signal }: { signal: AbortSignal },
  ): Promise<OpenBlob> {
    const scope = await this.#scopeOf(place);
    const key = `${scope} ${digest}`;
    this.#refuseWrong(place, digest, key);
    this.#refuseGreedy(place, key);
    const running = this.#running.get(key) ?? this.#start(key, { place, digest, scope });
    running.wish.make();
    const run = await abortable(running.started, signal);
    this.#join(run, place);
    return run.ingest.open({ signal });
  }

  /**
   * Fetches the first bytes of a blob that somebody will probably ask for in a moment; what nobody
   * has asked for after AHEAD_MS is dropped. Does nothing while AHEAD_MAX such are fetched.
   * @throws as open
   */
  async ahead(place: UpstreamPlace, digest: Digest): Promise<void> {
    const scope = await this.#scopeOf(place);
    const key = `${scope} ${digest}`;
    this.#refuseWrong(place, digest, key);
    this.#refuseGreedy(place, key);
    if (this.#running.has(key) || this.#ahead >= AHEAD_MAX) return;
    const unwanted = new AbortController();
    const running = this.#start(key, { place, digest, scope }, unwanted.signal);
    this.#ahead += 1;
    const limit = setTimeout(() => {
      if (running.wish.isMade) return;
      // Who asks from now on has it fetched anew.
      this.#forget(key, running);
      unwanted.abort(new CodedError('nobody asked for it', { code: 'UNWANTED' }));
    }, AHEAD_MS);
    try {
      await running.wish.made;
    } finally {
      clearTimeout(limit);
      this.#ahead -= 1;
    }
  }

  /** Leaves what runs to other hubs, or to a later start of this one. */
  async close(): Promise<void> {
    this.#end.abort();
    await Promise.allSettled(Array.from(this.#running.values(), ({ ended }) => ended));
  }

  async #scopeOf({ upstream, repository }: UpstreamPlace): Promise<string> {
    return (await this.#modules.isPublic(repository)) ? upstream.name : repository;
  }

  /** `unwanted`: nobody asked for what was begun ahead. */
  #start(
    key: string,
    ask: Omit<IngestTarget, 'wish'>,
    unwanted: AbortSignal = new AbortController().signal,
  ): Running {
    const { ingestsMax = INGESTS_MAX } = this.#options;
    if (this.#end.signal.aborted || this.#running.size >= ingestsMax) {
      throw ociError('UNAVAILABLE', 'the hub fetches all the blobs it can at a time; try again');
    }
    const signal = AbortSignal.any([this.#end.signal, unwanted]);
    const modules = { ...this.#modules, memory: this.#memory };
    const target = { ...ask, wish: new Wish() };
    const started = IngestRun.begin(target, { ...this.#options, signal }, modules);
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const running: Running = { started, ended, wish: target.wish };
    this.#running.set(key, running);
    void this.#follow(key, target, running).then(resolve);
    return running;
  }

  async #follow(key: string, target: IngestTarget, running: Running): Promise<void> {
    try {
      const run = await running.started;
      if (this.#running.get(key) === running) {
        this.#named.set(`${target.place.repository} ${target.digest}`, run.ingest);
      }
      await run.run();
      if ((await run.ingest.outcome) === 'wrong') this.#wrong.add(key, WRONG_PAUSE_MS);
      this.#noteFull(run.ingest.reason);
    } catch (err) {
      this.#noteFull(err);
    } finally {
      this.#forget(key, running);
      // Nobody waits for it any more.
      running.wish.make();
    }
  }

  /** Nobody finds it any more. */
  #forget(key: string, running: Running): void {
    if (this.#running.get(key) !== running) return;
    this.#running.delete(key);
    for (const [name, { wish }] of this.#named) {
      if (wish === running.wish) this.#named.delete(name);
    }
  }

  /** Another repository of the same public upstream: it gets the blob at the end. */
  #join(run: IngestRun, { repository }: UpstreamPlace): void {
    const { digest } = run.ingest;
    const name = `${repository} ${digest}`;
    if (this.#named.has(name) || run.ingest.isEnded) return;
    if (run.repositories.size >= INGEST_REPOSITORIES_MAX) return;
    run.repositories.add(repository);
    this.#named.set(name, run.ingest);
  }

  #noteFull(err: unknown): void {
    if (hasCode(err, 'NO_SPACE')) this.#fullUntilMs = this.#options.now() + FULL_PAUSE_MS;
  }

  /** One that sends nothing must not have all the places: half of them are for others. */
  #refuseGreedy({ upstream: { name, host } }: UpstreamPlace, key: string): void {
    const { ingestsMax = INGESTS_MAX } = this.#options;
    if (this.#running.has(key)) return;
    // A scope is the name of the upstream, or a repository below it.
    const own = [...this.#running.keys()].filter((one) => /^[^ /]*/.exec(one)?.[0] === name);
    if (own.length < Math.ceil(ingestsMax / 2)) return;
    throw ociError('UNAVAILABLE', `too many blobs of ${host} are on their way; try again`);
  }

  #refuseWrong({ upstream }: UpstreamPlace, digest: Digest, key: string): void {
    if (!this.#wrong.has(key)) return;
    const retryAfterS = Math.ceil(WRONG_PAUSE_MS / 1000);
    const message = `${upstream.host} sends other bytes for ${digest}; it is asked again soon`;
    throw new UpstreamAway(message, { retryAfterS });
  }
}
