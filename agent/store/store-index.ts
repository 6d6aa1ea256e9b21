import { isDigest } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { INDEX_FLUSH_MS, INDEX_NEWS_MAX } from './constants.ts';
import { IndexFile } from './index-file.ts';
import type { IndexRow } from './index-file.ts';
import type { PinRules } from './pins.ts';
import { isPinned, pinsText } from './pins.ts';

/** `small`: a file; `chunked`: a folder; `node`: facts only, the bytes lie with another program. */
export type EntryKind = 'small' | 'chunked' | 'node';

/** One thing that the store holds, as its index tells it. */
export type Entry = {
  digest: Digest;
  kind: EntryKind;
  /** Bytes promised to it. */
  bytes: number;
  /** Verified bytes that are there. */
  held: number;
  /** Namespace and repository it was asked under, or empty. */
  place: string;
  /** Peers may be told about it. */
  servable: boolean;
};

export type IndexedEntry = Entry & {
  /** When it was read last, in ms. */
  usedMs: number;
  /** When all of it was hashed last, in ms. */
  checkedMs: number;
  pinned: boolean;
  /** False: only its folder was seen yet. */
  known: boolean;
  leaving: boolean;
};

export type IndexTotals = { entries: number; bytes: number; held: number; pinned: number };

type News = { used?: number; held?: number };

export type IndexOptions = { path: string; bootId: string; pins: PinRules; now: () => number };

/**
 * What is held, in the order of use, without looking at any folder. The folders stay the truth: an
 * index that is missing, damaged or not to be believed is empty, and `complete` says so until it
 * was filled from them again.
 */
export class StoreIndex {
  readonly #options: IndexOptions;
  readonly #logger: Logger;
  readonly #file: IndexFile;
  /** Called when the index was found damaged and is empty now. */
  onReplaced: () => void = () => {};
  /** What changed since the last write, so that reading costs no writing. */
  readonly #news = new Map<Digest, News>();
  #timer: NodeJS.Timeout | undefined;
  #clock: number;
  #closed = false;

  /** @throws StoreError DISK_FULL, IO */
  constructor(options: IndexOptions, modules: { logger: Logger }) {
    this.#options = options;
    this.#logger = modules.logger;
    this.#file = IndexFile.open(options.path, options.bootId);
    this.#clock = Number(this.#do(() => this.#file.one('newest'))?.['used'] ?? 0);
    this.#do(() => this.#repin());
  }

  get complete(): boolean {
    return this.#do(() => this.#file.complete);
  }

  /** Every folder has its row now. */
  completed(): void {
    this.#do(() => this.#file.setState('complete', '1'));
  }

  get(digest: Digest): IndexedEntry | undefined {
    const row = this.#do(() => this.#file.one('get', digest));
    return row === undefined ? undefined : entryOf(row);
  }

  /** Adds what is used now, or says anew what it is; what a claim has pinned stays pinned. */
  put(entry: Entry): void {
    const now = this.#options.now();
    this.#news.delete(entry.digest);
    this.#do(() =>
      this.#file.write('put', { ...this.#columns(entry), used: this.#tick(), checked: now }),
    );
  }

  /** Adds what was found on disk, last read and so far hashed at `usedMs`, unless it is known. */
  meet(entries: readonly (Entry & { usedMs: number; known: boolean })[]): void {
    this.#do(() =>
      this.#file.atomically(() => {
        for (const { usedMs, known, ...entry } of entries) {
          const used = Math.floor(usedMs * 1000);
          const checked = Math.floor(usedMs);
          const row = { ...this.#columns(entry), used, checked, known: Number(known) };
          this.#file.write('meet', row);
          this.#clock = Math.max(this.#clock, used);
        }
      }),
    );
  }

  /** What the files of an entry say about it, for one that only its folder was seen of. */
  learn(entry: Entry, old: IndexedEntry): void {
    const used = Math.floor(old.usedMs * 1000);
    const row = { ...this.#columns(entry), used, checked: old.checkedMs };
    this.#do(() => this.#file.write('put', row));
  }

  forget(digest: Digest): void {
    this.#news.delete(digest);
    this.#do(() => this.#file.run('forget', digest));
  }

  /**
   * Its files are about to be deleted; it counts no more. Where there is no room left to note that,
   * they are deleted all the same: that makes room, and a row without files is dropped when found.
   */
  leave(digests: readonly Digest[]): void {
    try {
      this.#do(() =>
        this.#file.atomically(() => {
          for (const digest of digests) this.#file.run('leave', digest);
        }),
      );
    } catch (err) {
      if (!hasCode(err, 'DISK_FULL')) throw err;
      this.#logger.debug({ reason: messageOf(err) }, 'content leaves without a note of it');
    }
  }

  /** It was read. */
  touch(digest: Digest): void {
    this.#note(digest, { used: this.#tick() });
  }

  /** This many bytes of it are there and verified. */
  noteHeld(digest: Digest, held: number): void {
    this.#note(digest, { held });
  }

  checked(digest: Digest, atMs: number): void {
    this.#do(() => this.#file.run('check', atMs, digest));
  }

  /** What was hashed while the clock was ahead counts as hashed now, or it waits for that time. */
  lowerChecks(): void {
    this.#do(() => this.#file.write('lowerChecks', { now: Math.floor(this.#options.now()) }));
  }

  /** It was asked under `place`, which is pinned. */
  claim(digest: Digest, place: string): void {
    this.#do(() => this.#file.run('claim', place, digest));
  }

  totals(): IndexTotals {
    this.#writeOrWait();
    const row = this.#do(() => this.#file.one('totals'));
    const number = (key: string): number => Number(row?.[key] ?? 0);
    const [entries, bytes] = [number('entries'), number('bytes')];
    return { entries, bytes, held: number('held'), pinned: number('pinned') };
  }

  /** What may go, least recently read first, until `visit` says false. */
  eachVictim(visit: (entry: IndexedEntry) => boolean): void {
    this.#writeOrWait();
    this.#do(() => this.#file.each('victims', (row) => visit(entryOf(row))));
  }

  /** What peers may be told about, most recently read first. */
  listed(limit: number): IndexedEntry[] {
    return this.#rows('listed', limit);
  }

  /** What was not hashed since `beforeMs`, the oldest first. */
  due(beforeMs: number, limit: number): IndexedEntry[] {
    return this.#rows('due', beforeMs, limit);
  }

  unknown(limit: number): IndexedEntry[] {
    return this.#rows('unknown', limit);
  }

  leaving(limit: number): IndexedEntry[] {
    return this.#rows('leaving', limit);
  }

  /** What another program keeps, after this digest. */
  nodes(after: string, limit: number): IndexedEntry[] {
    return this.#do(() => this.#file.all('nodes', after, limit)).map(entryOf);
  }

  /** When the content that waits longest was hashed, in ms; undefined with nothing held. */
  get oldestCheckMs(): number | undefined {
    const checked = this.#do(() => this.#file.one('oldestCheck'))?.['checked'];
    return typeof checked === 'number' ? checked : undefined;
  }

  /** Closes it as one that the next start believes. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    try {
      this.#write();
      this.#file.close();
    } catch (err) {
      this.#logger.warn({ reason: messageOf(err) }, 'the index of the store was not saved');
    }
  }

  #columns(entry: Entry): Record<string, string | number> {
    const { digest, kind, bytes, held, place } = entry;
    const pinned = Number(isPinned(this.#options.pins, digest, place));
    return { digest, kind, bytes, held, place, servable: Number(entry.servable), pinned, known: 1 };
  }

  #rows(question: 'listed' | 'due' | 'unknown' | 'leaving', ...limits: number[]): IndexedEntry[] {
    this.#writeOrWait();
    return this.#do(() => this.#file.all(question, ...limits)).map(entryOf);
  }

  /** A time of use that is later than any before, also when the clock was set back. */
  #tick(): number {
    this.#clock = Math.max(Math.floor(this.#options.now() * 1000), this.#clock + 1);
    return this.#clock;
  }

  #note(digest: Digest, news: News): void {
    if (this.#closed) return;
    this.#news.set(digest, { ...this.#news.get(digest), ...news });
    if (this.#news.size >= INDEX_NEWS_MAX) this.#writeOrWait();
    this.#timer ??= setTimeout(() => this.#writeOrWait(), INDEX_FLUSH_MS);
    this.#timer.unref();
  }

  #writeOrWait(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      this.#do(() => this.#write());
    } catch (err) {
      // The order of use is no more than a hint; what is held is counted anew with the next chunk.
      this.#news.clear();
      this.#logger.debug({ reason: messageOf(err) }, 'uses of stored content were not noted');
    }
  }

  #write(): void {
    if (this.#news.size === 0) return;
    this.#file.atomically(() => {
      for (const [digest, { used, held }] of this.#news) {
        if (used !== undefined) this.#file.run('use', used, digest);
        if (held !== undefined) this.#file.run('hold', held, digest, held);
      }
    });
    this.#news.clear();
  }

  /** Rules that changed since the last start are applied to what is held. */
  #repin(): void {
    const { pins } = this.#options;
    const text = pinsText(pins);
    if (this.#file.state('pins') === text) return;
    const digests = JSON.stringify([...pins.digests]);
    const places = JSON.stringify([...pins.places]);
    this.#file.write('repin', { digests, places });
    this.#file.setState('pins', text);
  }

  /** A damaged file is replaced by an empty one, of which the question is asked again. */
  #do<T>(task: () => T): T {
    try {
      return task();
    } catch (err) {
      if (!hasCode(err, 'CORRUPT') || this.#closed) throw err;
      this.#logger.warn({ reason: messageOf(err) }, 'the index of the store is made anew');
      this.#news.clear();
      this.#file.replace(this.#options.bootId);
      this.#repin();
      this.onReplaced();
      return task();
    }
  }
}

function entryOf(row: IndexRow): IndexedEntry {
  const digest = String(row['digest']);
  const kind = String(row['kind']);
  if (!isDigest(digest)) throw new TypeError('the index names something that is no digest');
  return {
    digest,
    kind: kind === 'small' || kind === 'node' ? kind : 'chunked',
    bytes: Number(row['bytes']),
    held: Number(row['held']),
    place: String(row['place']),
    servable: row['servable'] === 1,
    usedMs: Number(row['used']) / 1000,
    checkedMs: Number(row['checked']),
    pinned: row['pinned'] === 1,
    known: row['known'] === 1,
    leaving: row['leaving'] === 1,
  };
}
