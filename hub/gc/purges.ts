import { createHash } from 'node:crypto';
import { PURGED_MAX } from '../../proto/hubapi/constants.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { BlobRemover } from '../blobs/port.ts';
import { GC_LOOK_MS } from './constants.ts';
import { GcError } from './errors.ts';
import type { PurgeStore } from './store.ts';

type Modules = { store: PurgeStore; blobs: BlobRemover; logger: Logger; now?: () => number };

/** What is taken down now; `version` changes with it and is the same at every hub. */
export type PurgedList = { version: string; digests: readonly Digest[] };

const VERSION_DIGITS = 16;

/** Takes content down, and tells agents what is. */
export class Purges {
  readonly #modules: Modules;
  #list: PurgedList = listOf([]);

  constructor(modules: Modules) {
    this.#modules = modules;
  }

  /** As of the last `refresh`. */
  get list(): PurgedList {
    return this.#list;
  }

  /** Reads what this and other hubs took down. */
  async refresh(): Promise<PurgedList> {
    this.#list = listOf(await this.#modules.store.purged(PURGED_MAX));
    return this.#list;
  }

  /** Reads it again and again until disposed, and no more after that. */
  follow(): AsyncDisposable {
    let reading: Promise<unknown> = Promise.resolve();
    const timer = setInterval(() => {
      const look = this.refresh().catch((err: unknown) => {
        const reason = messageOf(err);
        this.#modules.logger.warn({ reason }, 'what was taken down could not be read');
      });
      reading = Promise.all([reading, look]);
    }, GC_LOOK_MS).unref();
    return {
      [Symbol.asyncDispose]: async () => {
        clearInterval(timer);
        await reading;
      },
    };
  }

  /**
   * Takes a blob or a manifest down: gone from every repository at once, and refused in pushes
   * until it is lifted. Done again, it removes what a push that was under way left. `known`: the
   * hub had it, or it was taken down before.
   * @throws GcError PURGED_LIMIT; BlobStoreError, after which it is to be done again
   */
  async purge(digest: Digest): Promise<{ list: PurgedList; known: boolean }> {
    const { store, blobs, logger, now = Date.now } = this.#modules;
    const { digests } = await this.refresh();
    const isNew = !digests.includes(digest);
    if (digests.length >= PURGED_MAX && isNew) {
      throw new GcError(`${PURGED_MAX} digests are taken down; lift some`, {
        code: 'PURGED_LIMIT',
        max: PURGED_MAX,
      });
    }
    const known = (await store.purge(digest, now())) || !isNew;
    const name = await blobs.nameOf?.(digest);
    // Lifted and pushed again meanwhile, it is wanted; otherwise these bytes are the bad ones.
    if (await store.isPurged(digest)) {
      await blobs.remove(digest, name);
      await store.forgetPurged(digest);
    }
    logger.warn({ digest, known }, 'content was taken down');
    return { list: await this.refresh(), known };
  }

  /** An agent told this hub that it has acted; the others are to know. Never throws. */
  async noteActed(peerId: string, version: string): Promise<void> {
    try {
      await this.#modules.store.noteActed(peerId, version);
    } catch (err) {
      const reason = messageOf(err);
      this.#modules.logger.warn({ peerId, reason }, 'that an agent has acted was not noted');
    }
  }

  /** Peers that told any hub that they have acted on the list. */
  acted(): Promise<ReadonlySet<string>> {
    return this.#modules.store.acted(this.#list.version);
  }

  /** Lets the content be pushed again; false when it was not taken down. */
  async lift(digest: Digest): Promise<boolean> {
    const lifted = await this.#modules.store.lift(digest);
    if (lifted) this.#modules.logger.info({ digest }, 'content may be pushed again');
    await this.refresh();
    return lifted;
  }
}

function listOf(digests: readonly Digest[]): PurgedList {
  const hash = createHash('sha256').update(digests.join());
  return { version: hash.digest('hex').slice(0, VERSION_DIGITS), digests };
}
