import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import type { CollectorOptions } from './collector.ts';
import { GcError } from './errors.ts';
import type { Due, GcStore } from './store.ts';

/**
 * What a collection would do next with something: delete a manifest, take a blob from a
 * repository, or remove the bytes of a blob that no repository has.
 */
export type Garbage = {
  kind: GarbageKind;
  repository?: string;
  digest: Digest;
  /** Bytes. */
  size: number;
  /** Since when it is of no use, ms since 1970. */
  sinceMs: number;
};

export type GarbageKind = 'manifest' | 'repository-blob' | 'blob';
type Entry = Garbage & { used?: boolean };
type Place = { repository: string; digest: Digest; sinceMs: number };

const KINDS: readonly GarbageKind[] = ['manifest', 'repository-blob', 'blob'];

type ListStore = Pick<GcStore, 'untaggedManifests' | 'unusedLinks' | 'idleBlobs'>;
type ListOptions = Pick<CollectorOptions, 'graceMs' | 'quarantineMs' | 'untaggedMs' | 'now'>;

/** One page of a list, and where the next one begins, if there is one. */
export type ListPage<T> = { entries: T[]; next?: string };

/** Tells what is garbage and what is in quarantine. Reads what it tells of, changes nothing. */
export class GarbageList {
  readonly #options: ListOptions;
  readonly #store: ListStore;

  constructor(options: ListOptions, modules: { store: ListStore }) {
    this.#options = options;
    this.#store = modules.store;
  }

  /**
   * What a collection would begin with now, in its order. A page may have fewer entries than `n`.
   * @throws GcError PAGE_UNKNOWN
   */
  async garbage({ n, last }: { n: number; last?: string | undefined }): Promise<ListPage<Garbage>> {
    const from = last === undefined ? undefined : placeIn(last);
    const kind = from?.kind ?? 'manifest';
    const { read, beforeMs } = this.#readerOf(kind);
    const rows = beforeMs === undefined ? [] : await read({ beforeMs, max: n, after: from?.place });
    const entries = rows.filter(({ used }) => used !== true).map(withoutUse);
    const end = rows.length < n ? undefined : rows.at(-1);
    if (end !== undefined) return { entries, next: textOf(kind, end) };
    const following = KINDS[KINDS.indexOf(kind) + 1];
    return following === undefined ? { entries } : { entries, next: textOf(following) };
  }

  /**
   * Blobs in quarantine, those that leave it first come first.
   * @throws GcError PAGE_UNKNOWN
   */
  async quarantine({
    n,
    last,
  }: {
    n: number;
    last?: string | undefined;
  }): Promise<ListPage<{ digest: Digest; size: number; sinceMs: number; untilMs: number }>> {
    const after = last === undefined ? undefined : placeIn(last).place;
    const rows = await this.#store.idleBlobs({ beforeMs: LATEST_MS, max: n, after });
    const { quarantineMs } = this.#options;
    const entries = rows.map((one) => ({ ...one, untilMs: one.sinceMs + quarantineMs }));
    const end = rows.length < n ? undefined : rows.at(-1);
    return end === undefined ? { entries } : { entries, next: textOf('blob', end) };
  }

  #readerOf(kind: GarbageKind): {
    read: (due: Due<Place>) => Promise<Entry[]>;
    beforeMs: number | undefined;
  } {
    const { graceMs, quarantineMs, untaggedMs, now = Date.now } = this.#options;
    const store = this.#store;
    if (kind === 'manifest') {
      const read = async (due: Due<Place>) =>
        (await store.untaggedManifests(due)).map((one) => ({ kind, ...one }));
      return { read, beforeMs: untaggedMs === undefined ? undefined : now() - untaggedMs };
    }
    if (kind === 'blob') {
      const read = async (due: Due<Place>) =>
        (await store.idleBlobs(due)).map((one) => ({ kind, ...one }));
      return { read, beforeMs: now() - quarantineMs };
    }
    const read = async (due: Due<Place>) =>
      (await store.unusedLinks(due)).map((one) => ({ kind, ...one }));
    return { read, beforeMs: now() - graceMs };
  }
}

/** Later than any time there is, and exact in every database. */
const LATEST_MS = Number.MAX_SAFE_INTEGER;

function withoutUse({ used, ...entry }: Entry): Garbage {
  void used;
  return entry;
}

function textOf(
  kind: GarbageKind,
  end?: { repository?: string; digest: Digest; sinceMs: number },
): string {
  const place = end && [end.sinceMs, end.digest, end.repository ?? ''];
  return Buffer.from(JSON.stringify([kind, ...(place ?? [])])).toString('base64url');
}

function placeIn(text: string): { kind: GarbageKind; place: Place | undefined } {
  const parts = partsOf(text);
  const [kindText, sinceMs, digest, repository] = parts;
  const kind = KINDS.find((known) => known === kindText);
  if (kind !== undefined && parts.length === 1) return { kind, place: undefined };
  const whole = typeof sinceMs === 'number' && Number.isSafeInteger(sinceMs);
  if (kind !== undefined && whole && typeof digest === 'string' && isDigest(digest)) {
    if (typeof repository === 'string' && !repository.includes('\0')) {
      return { kind, place: { sinceMs, digest, repository } };
    }
  }
  throw new GcError('no page begins there; take what the last page said', {
    code: 'PAGE_UNKNOWN',
  });
}

function partsOf(text: string): unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    return Array.isArray(parts) ? parts : [];
  } catch {
    return [];
  }
}
