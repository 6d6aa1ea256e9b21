import type { Digest } from '../proto/oci/digest.ts';
import type { Logger } from '../proto/ops/logger.ts';
import { fetchError } from './fetch/errors.ts';
import type { ContentSource, LocalContent } from './mirror/ports.ts';
import type { ContentReader } from './swarm/content-reader.ts';

type Store = { remove(digest: Digest): Promise<void> };

/** What the hub has taken down: removed here, served to nobody, and not fetched again. */
export class PurgedContent {
  readonly #modules: { store: Store; logger: Logger };
  #digests: ReadonlySet<Digest> = new Set();

  constructor(modules: { store: Store; logger: Logger }) {
    this.#modules = modules;
  }

  /** Resolves when none of it is here any more. */
  async replace(digests: readonly Digest[]): Promise<void> {
    this.#digests = new Set(digests);
    for (const digest of digests) {
      // oxlint-disable-next-line no-await-in-loop -- a list that is empty as a rule
      await this.#modules.store.remove(digest);
    }
    this.#modules.logger.info({ digests: digests.length }, 'content that the hub has taken down');
  }

  /** What peers may read. */
  reader(content: ContentReader): ContentReader {
    return {
      find: (digest) => (this.#digests.has(digest) ? undefined : content.find(digest)),
      small: async (digest) => (this.#digests.has(digest) ? undefined : content.small(digest)),
    };
  }

  /** What the mirror sees: what is here, and what it gets from others. */
  shown(local: LocalContent, content: ContentSource) {
    return { local: this.local(local), content: this.source(content) };
  }

  /** What is here for the mirror. */
  local(content: LocalContent): LocalContent {
    return {
      find: (digest) => (this.#digests.has(digest) ? undefined : content.find(digest)),
      getSmall: async (digest) =>
        this.#digests.has(digest) ? undefined : content.getSmall(digest),
      putSmall: async (digest, bytes, place) => {
        if (!this.#digests.has(digest)) await content.putSmall(digest, bytes, place);
      },
    };
  }

  /** What the mirror gets from others. */
  source(content: ContentSource): ContentSource {
    return {
      manifest: async (request, o) =>
        this.#digests.has(request.digest) ? undefined : content.manifest(request, o),
      notice: (place, manifest, bytes) => {
        if (!this.#digests.has(manifest)) content.notice(place, manifest, bytes);
      },
      open: async (request, o) => {
        if (!this.#digests.has(request.digest)) return content.open(request, o);
        throw fetchError('NOT_FOUND', 'the hub has taken this content down', request.digest);
      },
    };
  }
}
