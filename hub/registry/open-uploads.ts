import { ociError } from '../../proto/oci/errors.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { BlobSweeper, BlobWriter } from '../blobs/port.ts';
import {
  UPLOADS_COUNT_MS,
  UPLOADS_PER_SUBJECT_MAX,
  UPLOAD_EXPIRED_BATCH,
  UPLOAD_HOLD_MS,
  UPLOAD_HOLD_RENEW_MS,
  UPLOAD_IDLE_MS,
  UPLOAD_ORPHAN_MS,
  UPLOAD_RELEASE_MS,
  UPLOAD_YIELD_BATCH,
  UPLOAD_YIELD_MS,
} from './constants.ts';
import { heldByOther, UploadSession } from './upload-session.ts';
import { UploadPlaces } from './upload-places.ts';
import type { UploadHold, UploadStore, UploadTarget } from './upload-store.ts';

export type OpenUploadsOptions = {
  /** Uploads that may be open at the same time. */
  uploadsMax: number;
  /** Of these, those of one subject. */
  perSubjectMax?: number | undefined;
  /** Names this hub among those that share the store; the same after a restart. */
  holder: string;
};

type Modules = {
  blobs: BlobWriter & BlobSweeper;
  store: UploadStore;
  logger: Logger;
  now?: () => number;
};

/** What a task makes of the upload it held. */
export type Outcome = 'keep' | 'undo' | 'drop';

/** An upload in the hands of one request. */
export type HeldUpload = {
  readonly session: UploadSession;
  /** After the task: `keep` what arrived, `undo` it to where it was, or `drop` the upload. */
  outcome: Outcome;
};

type Live = { session: UploadSession; epoch: number; usedMs: number };

/**
 * The uploads under way. What an answered request left is in the store, so that any hub that
 * shares it goes on from there; an upload that stayed here goes on with its hashes in memory.
 */
export class OpenUploads {
  readonly #options: OpenUploadsOptions;
  readonly #modules: Modules;
  readonly #now: () => number;
  readonly #live = new Map<string, Live>();
  readonly #busy = new Set<string>();
  readonly #places: UploadPlaces;
  #countedMs = Number.NEGATIVE_INFINITY;
  #counting: Promise<void> | undefined;

  constructor(options: OpenUploadsOptions, modules: Modules) {
    this.#options = options;
    this.#modules = modules;
    this.#now = modules.now ?? Date.now;
    const { uploadsMax: max, perSubjectMax = UPLOADS_PER_SUBJECT_MAX } = options;
    this.#places = new UploadPlaces({ max, perSubjectMax });
  }

  /** Uploads in the store, as far as this hub knows, and those that nobody can name. */
  get count(): number {
    return this.#places.taken;
  }

  /**
   * Begins an upload that a client can go on with.
   * @throws OciError TOOMANYREQUESTS; BlobStoreError; errors of the store
   */
  async create(owner: Omit<UploadTarget, 'id'>): Promise<UploadTarget> {
    const { subject } = owner;
    const session = await this.#begin(subject);
    try {
      const target = { ...owner, id: session.id };
      const { state, size } = await session.park();
      const nowMs = this.#now();
      const times = { nowMs, expiresAtMs: nowMs + UPLOAD_IDLE_MS };
      await this.#modules.store.create({ ...target, state, size }, times);
      this.#live.set(session.id, { session, epoch: 0, usedMs: nowMs });
      this.#places.keep(subject);
      return target;
    } catch (err) {
      this.#places.give(subject);
      await session.discard();
      throw err;
    }
  }

  /**
   * Runs a task with an upload that nobody can name and that is gone afterwards.
   * @throws OciError TOOMANYREQUESTS; BlobStoreError; whatever the task throws
   */
  async nameless<T>(subject: string, task: (session: UploadSession) => Promise<T>): Promise<T> {
    const session = await this.#begin(subject);
    try {
      return await task(session);
    } finally {
      this.#places.give(subject);
      await session.discard();
    }
  }

  /**
   * Bytes that the next request goes on at.
   * @throws OciError BLOB_UPLOAD_UNKNOWN
   */
  async size(target: UploadTarget): Promise<number> {
    const found = await this.#modules.store.find(target);
    if (found === undefined) throw unknownUpload();
    return found.size;
  }

  /** Leaves of an upload, as they were saved. */
  leaves(id: string): Promise<Buffer> {
    return this.#modules.store.leaves(id);
  }

  /**
   * Runs a task while other requests, here and at other hubs, are kept off the upload, and then
   * does what the task decided.
   * @throws OciError BLOB_UPLOAD_UNKNOWN, BLOB_UPLOAD_INVALID (409) while another request here
   * writes to it, UNAVAILABLE while one at another hub does; whatever the task throws
   */
  async exclusively<T>(target: UploadTarget, task: (upload: HeldUpload) => Promise<T>): Promise<T> {
    const { id } = target;
    if (this.#busy.has(id)) {
      await this.size(target);
      throw heldByOther();
    }
    this.#busy.add(id);
    try {
      const { hold, session } = await this.#hold(target);
      using keeper = this.#keepHold(hold, session);
      const upload: HeldUpload = { session, outcome: 'undo' };
      let result: T;
      try {
        result = await task(upload);
      } catch (err) {
        await this.#leave(target, upload, hold).catch((failure: unknown) => this.#tell(failure));
        throw err;
      }
      keeper[Symbol.dispose]();
      await this.#leave(target, upload, hold);
      return result;
    } finally {
      this.#busy.delete(id);
    }
  }

  /** Removes uploads that nobody has used for long, and what nobody goes on with. */
  async sweep(): Promise<void> {
    const { blobs, store } = this.#modules;
    const nowMs = this.#now();
    await this.#releaseIdle(nowMs - UPLOAD_RELEASE_MS);
    try {
      for (;;) {
        const expired = await store.takeExpired(nowMs, UPLOAD_EXPIRED_BATCH);
        for (const { id } of expired) await this.#forget(id);
        if (expired.length < UPLOAD_EXPIRED_BATCH) break;
      }
      // Nobody names the bytes of those that expired now: they are removed with the others.
      const known = (ids: readonly string[]) => store.known(ids);
      await blobs.sweep({ beforeMs: nowMs - UPLOAD_ORPHAN_MS, known });
      // One that began before may not know of their end.
      await this.#counting;
      await this.#count();
    } catch (err) {
      this.#tell(err);
    }
  }

  async #begin(subject: string): Promise<UploadSession> {
    // What other hubs began and ended is in the store alone.
    await this.#recount();
    if (this.#places.isFullFor(subject)) await this.#makeRoom(subject);
    this.#places.take(subject);
    try {
      return new UploadSession(await this.#modules.blobs.begin());
    } catch (err) {
      this.#places.give(subject);
      throw err;
    }
  }

  /** Clients that died do not come back; what they began is not to keep their account out. */
  async #makeRoom(subject: string): Promise<void> {
    const nowMs = this.#now();
    const wish = {
      subject: this.#places.hasShare(subject) ? subject : undefined,
      busy: [...this.#busy],
      nowMs,
      beforeMs: nowMs - UPLOAD_YIELD_MS,
      max: UPLOAD_YIELD_BATCH,
    };
    for (const ended of await this.#modules.store.takeIdle(wish)) {
      this.#places.remove(ended.subject);
      await this.#forget(ended.id);
    }
  }

  /** Others may have ended some that were begun here. */
  async #recount(): Promise<void> {
    if (this.#now() - this.#countedMs >= UPLOADS_COUNT_MS) await this.#count();
    else await this.#counting;
  }

  /** One at a time: each adds what was kept here meanwhile, and two would do so twice. */
  #count(): Promise<void> {
    if (this.#counting !== undefined) return this.#counting;
    this.#countedMs = this.#now();
    this.#counting = this.#places
      .learn(() => this.#modules.store.counts())
      .finally(() => {
        this.#counting = undefined;
      });
    return this.#counting;
  }

  async #hold(target: UploadTarget): Promise<{ hold: UploadHold; session: UploadSession }> {
    const { store, blobs } = this.#modules;
    const nowMs = this.#now();
    const { holder } = this.#options;
    const found = await store.hold(target, { holder, nowMs, untilMs: nowMs + UPLOAD_HOLD_MS });
    if (found === 'held') throw heldElsewhere();
    if (found === 'unknown') {
      await this.#forgetIfGone(target.id);
      throw unknownUpload();
    }
    const hold = { id: target.id, epoch: found.epoch };
    const live = this.#live.get(target.id);
    if (live?.epoch === found.epoch - 1) {
      live.epoch = found.epoch;
      return { hold, session: live.session };
    }
    await this.#forget(target.id);
    const pending = await blobs.resume(found.state).catch(async (err: unknown) => {
      await store.letGo(hold);
      throw err;
    });
    if (pending === undefined) {
      await store.remove(hold);
      this.#places.remove(target.subject);
      throw unknownUpload();
    }
    const session = new UploadSession(pending);
    this.#live.set(target.id, { session, epoch: found.epoch, usedMs: nowMs });
    return { hold, session };
  }

  /** Does what was decided of the upload. Whatever happens, no hold stays behind. */
  async #leave(
    { subject }: UploadTarget,
    { session, outcome }: HeldUpload,
    hold: UploadHold,
  ): Promise<void> {
    const { store } = this.#modules;
    if (outcome === 'drop') {
      this.#live.delete(hold.id);
      this.#places.remove(subject);
      await session.discard();
      return store.remove(hold);
    }
    try {
      if (outcome === 'keep' && (await this.#save(session, hold))) return;
    } catch (err) {
      await this.#forget(hold.id);
      await store.letGo(hold);
      throw err;
    }
    await this.#forget(hold.id);
    await store.letGo(hold);
    if (outcome === 'keep') throw heldByOther();
  }

  async #save(session: UploadSession, hold: UploadHold): Promise<boolean> {
    const progress = await session.park();
    const nowMs = this.#now();
    const times = { nowMs, expiresAtMs: nowMs + UPLOAD_IDLE_MS };
    const live = this.#live.get(hold.id);
    if (live) live.usedMs = nowMs;
    return this.#modules.store.save(hold, { ...progress, ...times });
  }

  /** Holds the upload as long as its request takes. */
  #keepHold(hold: UploadHold, session: UploadSession): Disposable {
    let untilMs = this.#now() + UPLOAD_HOLD_MS;
    const renew = async (): Promise<void> => {
      const wishMs = this.#now() + UPLOAD_HOLD_MS;
      const held = await this.#modules.store.extend(hold, wishMs).catch(() => undefined);
      if (held === true) untilMs = wishMs;
      if (held === false || untilMs < this.#now()) session.lose();
    };
    const timer = setInterval(() => void renew(), UPLOAD_HOLD_RENEW_MS);
    timer.unref();
    return { [Symbol.dispose]: () => clearInterval(timer) };
  }

  async #releaseIdle(beforeMs: number): Promise<void> {
    for (const [id, { usedMs }] of this.#live) {
      if (usedMs < beforeMs && !this.#busy.has(id)) await this.#forget(id);
    }
  }

  /** Lets go of what is here of an upload; the store still knows it. */
  async #forget(id: string): Promise<void> {
    const live = this.#live.get(id);
    this.#live.delete(id);
    await live?.session.release();
  }

  /** Not told by one who may not know of the upload. */
  async #forgetIfGone(id: string): Promise<void> {
    if (!this.#live.has(id)) return;
    if (!(await this.#modules.store.known([id])).has(id)) await this.#forget(id);
  }

  #tell(err: unknown): void {
    this.#modules.logger.warn({ reason: messageOf(err) }, 'uploads could not be put in order');
  }
}

/** It may have died: who asks again gets the upload when its hold is over. */
function heldElsewhere(): Error {
  const seconds = UPLOAD_HOLD_MS / 1000;
  return ociError(
    'UNAVAILABLE',
    `another hub is writing to this upload, or was until it died; free within ${seconds} s`,
  );
}

function unknownUpload(): Error {
  return ociError('BLOB_UPLOAD_UNKNOWN', 'no such upload; start it again');
}
