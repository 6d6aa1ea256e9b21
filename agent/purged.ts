import { readFile, stat } from 'node:fs/promises';
import { Type } from 'typebox';
import { parseBody } from '../proto/hubapi/body.ts';
import { PURGED_MAX } from '../proto/hubapi/constants.ts';
import { parseDigest, type Digest } from '../proto/oci/digest.ts';
import type { Logger } from '../proto/ops/logger.ts';
import { hasCode, messageOf } from '../proto/std/errors.ts';
import { PURGED_FILE_MAX_BYTES, PURGED_WAIT_MS } from './constants.ts';
import { fetchError } from './fetch/errors.ts';
import { writePrivateFile } from './fleet/atomic-file.ts';
import type { ContentSource, LocalContent } from './mirror/ports.ts';
import type { PrefetchContent } from './prefetch/ports.ts';
import type { ContentReader } from './swarm/content-reader.ts';

type Store = { remove(digest: Digest): Promise<void> };
type Options = {
  /** Where the list is kept for the next run. */
  file: string;
  /** A hub will say what is taken down: nothing is served from here before, for a while. */
  awaitsHub: boolean;
};

const PurgedFile = Type.Object({
  format: Type.Literal(1),
  digests: Type.Array(Type.String(), { maxItems: PURGED_MAX }),
});

/**
 * What the hub has taken down: removed here, served to nobody, and not fetched again. The list
 * outlives the agent, and one that starts hears the hub before it serves what it has, so that a
 * node that was away does not hand out what was taken down meanwhile. Only a hub that does not
 * answer is not waited for longer than PURGED_WAIT_MS.
 */
export class PurgedContent implements Disposable {
  readonly #options: Options;
  readonly #modules: { store: Store; logger: Logger };
  readonly #heard = Promise.withResolvers<void>();
  readonly #timer: NodeJS.Timeout;
  #hasHeard = false;
  #digests: ReadonlySet<Digest> = new Set();

  private constructor(options: Options, modules: { store: Store; logger: Logger }) {
    this.#options = options;
    this.#modules = modules;
    this.#timer = setTimeout(() => this.heard(), PURGED_WAIT_MS).unref();
    if (!options.awaitsHub) this.heard();
  }

  /** Reads the list of the last run; what is on it is gone when this resolves. */
  static async open(
    options: Options,
    modules: { store: Store; logger: Logger },
  ): Promise<PurgedContent> {
    const own = new PurgedContent(options, modules);
    const digests = await own.#load();
    own.#digests = new Set(digests);
    for (const digest of digests) {
      // oxlint-disable-next-line no-await-in-loop -- a list that is empty as a rule
      await modules.store.remove(digest);
    }
    return own;
  }

  /** Resolves when none of it is here any more. */
  async replace(digests: readonly Digest[]): Promise<void> {
    const { logger, store } = this.#modules;
    this.#digests = new Set(digests);
    await this.#save(digests);
    for (const digest of digests) {
      // oxlint-disable-next-line no-await-in-loop -- a list that is empty as a rule
      await store.remove(digest);
    }
    logger.info({ digests: digests.length }, 'content that the hub has taken down');
  }

  /** For who asks the hub. */
  get hearer() {
    return {
      purge: (digests: readonly Digest[]) => this.replace(digests),
      heard: () => this.heard(),
    };
  }

  /** The hub has said what is taken down, or cannot be asked. */
  heard(): void {
    clearTimeout(this.#timer);
    this.#hasHeard = true;
    this.#heard.resolve();
  }

  [Symbol.dispose](): void {
    this.heard();
  }

  async #load(): Promise<Digest[]> {
    const { file } = this.#options;
    try {
      const { size } = await stat(file);
      if (size > PURGED_FILE_MAX_BYTES) throw new Error(`${size} bytes are too many`);
      return parseBody(PurgedFile, await readFile(file)).digests.map(parseDigest);
    } catch (err) {
      if (!hasCode(err, 'ENOENT')) {
        const reason = messageOf(err);
        this.#modules.logger.warn({ file, reason }, 'list of what was taken down is not readable');
      }
      return [];
    }
  }

  async #save(digests: readonly Digest[]): Promise<void> {
    const { file } = this.#options;
    try {
      await writePrivateFile(file, JSON.stringify({ format: 1, digests }));
    } catch (err) {
      // The hub tells the next run again.
      this.#modules.logger.warn({ file, err }, 'list of what was taken down is not written');
    }
  }

  #isPurged(digest: Digest): boolean {
    return !this.#hasHeard || this.#digests.has(digest);
  }

  /** What peers may read. */
  reader(content: ContentReader): ContentReader {
    return {
      find: (digest, session) =>
        this.#isPurged(digest) ? undefined : content.find(digest, session),
      small: async (digest) => (this.#isPurged(digest) ? undefined : content.small(digest)),
    };
  }

  /** What is fetched before it is asked for. */
  planned(content: PrefetchContent): PrefetchContent {
    const check = async (digest: Digest): Promise<void> => {
      await this.#heard.promise;
      if (!this.#isPurged(digest)) return;
      throw fetchError('NOT_FOUND', 'the hub has taken this content down', digest);
    };
    return {
      manifest: async (request, o) => {
        await check(request.digest);
        return content.manifest(request, o);
      },
      prefetch: async (request, o) => {
        await check(request.digest);
        return content.prefetch(request, o);
      },
    };
  }

  /** What the mirror sees: what is here, and what it gets from others. */
  shown(local: LocalContent, content: ContentSource) {
    return { local: this.local(local), content: this.source(content) };
  }

  /** What is here for the mirror. */
  local(content: LocalContent): LocalContent {
    return {
      find: (digest) => (this.#isPurged(digest) ? undefined : content.find(digest)),
      growing: (digest) => (this.#isPurged(digest) ? undefined : content.growing?.(digest)),
      getSmall: async (digest) => {
        await this.#heard.promise;
        return this.#isPurged(digest) ? undefined : content.getSmall(digest);
      },
      putSmall: async (digest, bytes, place) => {
        if (!this.#digests.has(digest)) await content.putSmall(digest, bytes, place);
      },
    };
  }

  /** What the mirror gets from others, or what is here already. */
  source(content: ContentSource): ContentSource {
    return {
      manifest: async (request, o) => {
        await this.#heard.promise;
        return this.#isPurged(request.digest) ? undefined : content.manifest(request, o);
      },
      notice: (place, manifest, bytes) => {
        if (!this.#digests.has(manifest)) content.notice(place, manifest, bytes);
      },
      ahead: (place, manifest, bytes) => {
        if (!this.#digests.has(manifest)) content.ahead(place, manifest, bytes);
      },
      open: async (request, o) => {
        await this.#heard.promise;
        if (!this.#isPurged(request.digest)) return content.open(request, o);
        throw fetchError('NOT_FOUND', 'the hub has taken this content down', request.digest);
      },
    };
  }
}
