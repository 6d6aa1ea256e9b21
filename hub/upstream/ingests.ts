import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { abortable } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { OpenBlob } from '../blobs/port.ts';
import { BufferMemory } from '../registry/buffer-memory.ts';
import { UpstreamAway } from '../registry/pull-through.ts';
import type { Ingest } from './ingest.ts';
import { IngestRun, type IngestRunModules, type IngestTarget } from './ingest-run.ts';
import { Negatives } from './negatives.ts';
import type { Ingests, RunningIngest, UpstreamPlace } from './port.ts';
import {
  FULL_PAUSE_MS,
  INGEST_BATCH_BYTES,
  INGEST_BATCH_MIN_BYTES,
  INGEST_REPOSITORIES_MAX,
  INGESTS_MAX,
  INGESTS_MEMORY_BYTES,
  WRONG_PAUSE_MS,
} from './pull-constants.ts';

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

type Running = { started: Promise<IngestRun>; ended: Promise<void> };

/**
 * Blobs on their way to this hub, each fetched once however many ask for it. A blob of a public
 * upstream is fetched once for all repositories of it, one of a private upstream once for each
 * repository: naming a digest gives no right to it. Upstreams never share: the bytes of one that
 * lies must not be read in the name of another.
 */
export class UpstreamIngests implements Ingests {
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
    const { started } = this.#running.get(key) ?? this.#start(key, { place, digest, scope });
    const run = await abortable(started, signal);
    this.#join(run, place);
    return run.ingest.open({ signal });
  }

  /** Leaves what runs to other hubs, or to a later start of this one. */
  async close(): Promise<void> {
    this.#end.abort();
    await Promise.allSettled(Array.from(this.#running.values(), ({ ended }) => ended));
  }

  async #scopeOf({ upstream, repository }: UpstreamPlace): Promise<string> {
    return (await this.#modules.isPublic(repository)) ? upstream.name : repository;
  }

  #start(key: string, target: IngestTarget): Running {
    const { ingestsMax = INGESTS_MAX } = this.#options;
    if (this.#end.signal.aborted || this.#running.size >= ingestsMax) {
      throw ociError('UNAVAILABLE', 'the hub fetches all the blobs it can at a time; try again');
    }
    const options = { ...this.#options, signal: this.#end.signal };
    const modules = { ...this.#modules, memory: this.#memory };
    const started = IngestRun.begin(target, options, modules);
    const running = { started, ended: this.#follow(key, target, started) };
    this.#running.set(key, running);
    return running;
  }

  async #follow(key: string, target: IngestTarget, started: Promise<IngestRun>): Promise<void> {
    const names: string[] = [];
    try {
      const run = await started;
      names.push(...this.#name(run, target.place.repository));
      await run.run();
      if ((await run.ingest.outcome) === 'wrong') this.#wrong.add(key, WRONG_PAUSE_MS);
      this.#noteFull(run.ingest.reason);
      names.push(...run.repositories);
    } catch (err) {
      this.#noteFull(err);
    } finally {
      this.#running.delete(key);
      for (const name of names) this.#named.delete(`${name} ${target.digest}`);
    }
  }

  #name(run: IngestRun, repository: string): string[] {
    this.#named.set(`${repository} ${run.ingest.digest}`, run.ingest);
    return [repository];
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
  #refuseGreedy({ upstream: { name } }: UpstreamPlace, key: string): void {
    const { ingestsMax = INGESTS_MAX } = this.#options;
    if (this.#running.has(key)) return;
    // A scope is the name of the upstream, or a repository below it.
    const own = [...this.#running.keys()].filter((one) => /^[^ /]*/.exec(one)?.[0] === name);
    if (own.length < Math.ceil(ingestsMax / 2)) return;
    throw ociError('UNAVAILABLE', `too many blobs of ${name} are on their way; try again`);
  }

  #refuseWrong({ upstream }: UpstreamPlace, digest: Digest, key: string): void {
    if (!this.#wrong.has(key)) return;
    const retryAfterS = Math.ceil(WRONG_PAUSE_MS / 1000);
    const message = `${upstream.name} sends other bytes for ${digest}; it is asked again soon`;
    throw new UpstreamAway(message, { retryAfterS });
  }
}
