import type { Digest } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import { SEEN_BLOBS_MAX } from './constants.ts';

/** Blobs that a registry is known to have, and a repository in which it has them. */
export class SeenBlobs {
  readonly #repositories = new Map<Digest, Repository>();

  note(digest: Digest, repository: Repository): void {
    this.#repositories.delete(digest);
    this.#repositories.set(digest, repository);
    if (this.#repositories.size <= SEEN_BLOBS_MAX) return;
    const [oldest] = this.#repositories.keys();
    if (oldest !== undefined) this.#repositories.delete(oldest);
  }

  has(digest: Digest): boolean {
    return this.#repositories.has(digest);
  }

  repositoryWith(digest: Digest): Repository | undefined {
    return this.#repositories.get(digest);
  }
}
