import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import { MANIFEST_CACHE_BYTES, MANIFEST_CACHE_ENTRY_BYTES } from './constants.ts';
import type { StoredManifest } from './port.ts';

type Reference = { tag: string } | { digest: Digest };

/**
 * Manifests read of late, by what they were asked for. Only for a catalog whose manifests and tags
 * nobody else changes: who changes them says so here, when the change is durable. Says nothing
 * about rights.
 */
export class ManifestCache {
  readonly #found = new LRUCache<string, StoredManifest>({
    maxSize: MANIFEST_CACHE_BYTES,
    sizeCalculation: ({ bytes }) => bytes.length + MANIFEST_CACHE_ENTRY_BYTES,
  });
  #changes = 0;

  /** From memory, or what `read` finds. */
  async get(
    repository: string,
    reference: Reference,
    read: () => Promise<StoredManifest | undefined>,
  ): Promise<StoredManifest | undefined> {
    const key = keyOf(repository, reference);
    const known = this.#found.get(key);
    if (known !== undefined) return known;
    const changes = this.#changes;
    const found = await read();
    // What was read before a change is not kept after it.
    if (found !== undefined && changes === this.#changes) this.#found.set(key, found);
    return found;
  }

  /** These do not mean what they meant. */
  changed(repository: string, references: readonly Reference[]): void {
    this.#changes += 1;
    for (const reference of references) this.#found.delete(keyOf(repository, reference));
  }

  /** Any may mean something else. */
  clear(): void {
    this.#changes += 1;
    this.#found.clear();
  }
}

/** Neither a tag nor a repository has a space, nor a tag a colon. */
function keyOf(repository: string, reference: Reference): string {
  return `${repository} ${'tag' in reference ? reference.tag : reference.digest}`;
}
