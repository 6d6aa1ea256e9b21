import { LRUCache } from 'lru-cache';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Tag } from '../../proto/oci/name.ts';
import { TOLD_TAGS_MAX, TOLD_TYPE_MAX_CHARS } from './pull-constants.ts';

/** What an upstream said that a tag names, without sending it. */
export type ToldTag = {
  digest: Digest;
  mediaType: string;
  size: number | undefined;
  etag: string | undefined;
  /** When it was asked, ms since 1970. */
  askedAtMs: number;
};

type Name = { repository: string; tag: Tag };
type Entry = { name: Name; told: ToldTag };

/**
 * Tags whose manifests were not here when this hub was told what they name: clients that ask by
 * HEAD and then for the digest never ask for the tag itself. The last answer of each, bounded.
 */
export class ToldTags {
  readonly #entries: LRUCache<string, Entry>;
  /** Keys of entries, by repository and digest. */
  readonly #named = new Map<string, Set<string>>();

  constructor(options: { max?: number } = {}) {
    const { max = TOLD_TAGS_MAX } = options;
    this.#entries = new LRUCache({
      max,
      dispose: ({ name, told }, key) => this.#unname(name, told, key),
    });
  }

  get(name: { repository: string; tag: string }): ToldTag | undefined {
    return this.#entries.get(keyOf(name))?.told;
  }

  /** Unless a later answer is known. */
  add(name: Name, told: ToldTag): void {
    const key = keyOf(name);
    const known = this.#entries.peek(key)?.told;
    if (known !== undefined && known.askedAtMs > told.askedAtMs) return;
    if (told.mediaType.length > TOLD_TYPE_MAX_CHARS) return void this.#entries.delete(key);
    this.#entries.set(key, { name, told });
    const digestKey = digestKeyOf(name.repository, told.digest);
    const named = this.#named.get(digestKey) ?? new Set();
    this.#named.set(digestKey, named.add(key));
  }

  /** It was asked again at that time; a later answer stays. */
  forget(name: Name, askedAtMs: number): void {
    const key = keyOf(name);
    const known = this.#entries.peek(key)?.told;
    if (known !== undefined && known.askedAtMs <= askedAtMs) this.#entries.delete(key);
  }

  /** The tags that name this manifest. */
  of(repository: string, digest: Digest): { tag: Tag; told: ToldTag }[] {
    const keys = [...(this.#named.get(digestKeyOf(repository, digest)) ?? [])];
    return keys.flatMap((key) => {
      const entry = this.#entries.peek(key);
      return entry === undefined ? [] : [{ tag: entry.name.tag, told: entry.told }];
    });
  }

  #unname({ repository }: Name, { digest }: ToldTag, key: string): void {
    const digestKey = digestKeyOf(repository, digest);
    const named = this.#named.get(digestKey);
    named?.delete(key);
    if (named?.size === 0) this.#named.delete(digestKey);
  }
}

function keyOf({ repository, tag }: { repository: string; tag: string }): string {
  return `${repository}:${tag}`;
}

function digestKeyOf(repository: string, digest: Digest): string {
  return `${repository}@${digest}`;
}
