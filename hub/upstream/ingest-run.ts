import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { CodedError, hasCode, messageOf } from '../../proto/std/errors.ts';
import type { BlobReader, BlobWriter } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import type { BufferMemory } from '../registry/buffer-memory.ts';
import { keepBlob } from '../registry/keep-blob.ts';
import { heldElsewhere } from './held-elsewhere.ts';
import { Ingest } from './ingest.ts';
import { IngestBytes } from './ingest-bytes.ts';
import { IngestParking, type ParkingModules } from './ingest-parking.ts';
import { IngestSink } from './ingest-sink.ts';
import { openAt, streamInto, type OpenAnswer } from './ingest-stream.ts';
import type { UpstreamPlace } from './port.ts';
import type { PullMetrics } from './pull-metrics.ts';
import type { SpoolFolder } from './spool.ts';
import type { UpstreamStore } from './store.ts';
import type { Wish } from './wish.ts';

export type IngestTarget = {
  place: UpstreamPlace;
  digest: Digest;
  /** Who may share in it: the upstream, or one repository of it. */
  scope: string;
  /** That somebody wants it. */
  wish: Wish;
};

export type IngestRunOptions = {
  holder: string;
  now: () => number;
  signal: AbortSignal;
  stallMs?: number | undefined;
};

export type IngestRunModules = ParkingModules & {
  store: Pick<UpstreamStore, 'parked' | 'park' | 'namedSize'>;
  blobs: Pick<BlobReader, 'stat' | 'open'> & Pick<BlobWriter, 'begin' | 'resume' | 'sizeMax'>;
  spools: SpoolFolder;
  catalog: Pick<Catalog, 'pinBlob' | 'addBlob' | 'linkBlob'>;
  memory: BufferMemory;
  metrics: Pick<PullMetrics, 'ingests' | 'ingestBytes' | 'retries'>;
  logger: Logger;
};

/** A blob being fetched of its upstream, from what was parked of it to the catalog. */
export class IngestRun {
  readonly ingest: Ingest;
  /** Other repositories that are to have the blob. */
  readonly repositories = new Set<string>();
  readonly #target: IngestTarget;
  readonly #options: IngestRunOptions;
  readonly #modules: IngestRunModules;
  readonly #bytes: IngestBytes;
  readonly #parking: IngestParking;
  readonly #first: OpenAnswer | undefined;
  readonly #lost = new AbortController();

  private constructor(
    parts: {
      target: IngestTarget;
      ingest: Ingest;
      bytes: IngestBytes;
      parking: IngestParking;
      first: OpenAnswer | undefined;
    },
    options: IngestRunOptions,
    modules: IngestRunModules,
  ) {
    this.#target = parts.target;
    this.ingest = parts.ingest;
    this.#bytes = parts.bytes;
    this.#parking = parts.parking;
    this.#first = parts.first;
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * Finds out how large the blob is and what of it is here.
   * @throws OciError BLOB_UNKNOWN; CodedError HELD_ELSEWHERE, with the hub that goes on with it;
   * CatalogError PURGED; errors of the upstream and of the store
   */
  static async begin(
    target: IngestTarget,
    options: IngestRunOptions,
    modules: IngestRunModules,
  ): Promise<IngestRun> {
    const { place, digest, scope } = target;
    // What was taken down is not fetched again.
    await modules.catalog.pinBlob(digest);
    const { repository, policy } = place;
    const parking = new IngestParking({ scope, repository, digest }, options, modules);
    await using begun = new AsyncDisposableStack();
    begun.defer(() => parking.letGo());
    const resumed = await resumedOf(digest, parking, modules);
    if (resumed !== undefined) begun.defer(() => resumed.release());
    const first = resumed === undefined ? await firstOf(target, options) : undefined;
    if (first !== undefined) begun.defer(() => first.close());
    const size = await sizeOf(target, first?.size, { ...options, ...modules });
    const bytes = resumed ?? (await IngestBytes.begin(digest, modules));
    begun.move();
    const { provisional } = policy;
    const { stallMs } = options;
    const { blobs } = modules;
    const { wish } = target;
    const ingest = new Ingest({ digest, size, provisional, stallMs, wish }, { bytes, blobs });
    return new IngestRun({ target, ingest, bytes, parking, first }, options, modules);
  }

  /** Resolves when the blob is stored, or cannot be. Never rejects. */
  async run(): Promise<void> {
    const { ingest } = this;
    const { host: upstream } = this.#target.place.upstream;
    this.#parking.keep(() => this.#lost.abort(heldElsewhere('')));
    try {
      await this.#fill();
      const kept = await this.#keep();
      if (kept) await this.#link();
      else await this.#refuse();
      this.#modules.metrics.ingests.inc({ upstream, result: kept ? 'stored' : 'wrong' });
      ingest.finish(kept ? 'stored' : 'wrong');
    } catch (err) {
      await this.#leave(err).catch((failure: unknown) => this.#tell(failure));
      const result = hasCode(err, 'UNWANTED') ? 'unwanted' : 'failed';
      this.#modules.metrics.ingests.inc({ upstream, result });
      ingest.finish('failed', err);
    }
  }

  async #fill(): Promise<void> {
    const { place, digest } = this.#target;
    const { metrics, memory } = this.#modules;
    const { host: upstream } = place.upstream;
    const signal = AbortSignal.any([this.#options.signal, this.#lost.signal]);
    const grew = (): void => this.ingest.grew();
    await this.#bytes.recheck({ signal, onBytes: grew });
    using batch = memory.enter();
    const { size } = this.ingest;
    const sink = new IngestSink(
      { size },
      {
        bytes: this.#bytes,
        park: () => this.#parking.park(this.#bytes),
        wish: this.#target.wish,
        signal,
        batchBytes: () => batch.share,
        onBytes: (count) => {
          metrics.ingestBytes.inc({ upstream }, count);
          grew();
        },
      },
    );
    const onRetry = (err: unknown): void => {
      metrics.retries.inc({ upstream });
      const fields = { ...this.#names(), at: sink.size, reason: messageOf(err) };
      this.#modules.logger.info(fields, 'a blob of an upstream broke off; it is gone on with');
    };
    const { now, stallMs } = this.#options;
    const source = { place, digest, size, first: this.#first, signal, stallMs };
    try {
      await streamInto(sink, { ...source, onRetry, now });
    } catch (err) {
      if (!hasCode(err, 'HELD_ELSEWHERE')) await sink.parkEnd().catch(() => undefined);
      throw err;
    }
  }

  /** False when the bytes are not those of the digest: then nothing is stored. */
  async #keep(): Promise<boolean> {
    const { place, digest } = this.#target;
    const { signal } = this.#options;
    const found = await this.#bytes.check({ onBytes: () => this.ingest.grew() });
    if (found === 'wrong') return false;
    this.ingest.checked();
    const target = { repository: place.repository, digest, id: this.#parking.id };
    const commit = async () => {
      await this.#bytes.commit();
      return found;
    };
    await keepBlob(target, commit, { ...this.#modules, signal });
    this.#parking.done();
    return true;
  }

  /** A repository that is left out here gets the blob when it is asked for there. */
  async #link(): Promise<void> {
    const { digest } = this.#target;
    for (const repository of this.repositories) {
      await this.#modules.catalog
        .linkBlob(repository, digest)
        .catch((err: unknown) => this.#tell(err));
    }
  }

  async #refuse(): Promise<void> {
    const { readers } = this.ingest;
    const fields = { ...this.#names(), size: this.ingest.size, readers };
    this.#modules.logger.error(
      fields,
      'an upstream sent a blob with another digest; nothing of it is stored, and who reads it ' +
        'is cut off. Runtimes that have read some of it have to pull the image anew',
    );
    await this.#bytes.discard();
    // Whoever goes on with what stays parked finds out the same.
    await this.#parking.drop().catch((err: unknown) => this.#tell(err));
  }

  /** What is parked stays for the next who asks, unless it is of no use, or in the way. */
  async #leave(err: unknown): Promise<void> {
    if (!this.#options.signal.aborted) {
      const fields = { ...this.#names(), at: this.#bytes.size, reason: messageOf(err) };
      this.#modules.logger.warn(fields, 'a blob of an upstream did not come');
    }
    const isUseless = hasCode(err, 'PARKED_WRONG', 'SIZE_CHANGED', 'GONE', 'PURGED');
    // The disk is everybody's: pushes and smaller blobs need the room.
    const isTooLarge = hasCode(err, 'NO_SPACE');
    if (isUseless || isTooLarge || this.#parking.id === undefined) {
      await this.#bytes.discard();
      return this.#parking.drop();
    }
    await this.#bytes.release();
    await this.#parking.letGo();
  }

  #names(): { upstream: string; repository: string; digest: string } {
    const { place, digest } = this.#target;
    return { upstream: place.upstream.host, repository: place.repository, digest };
  }

  #tell(failure: unknown): void {
    const fields = { ...this.#names(), reason: messageOf(failure) };
    this.#modules.logger.warn(fields, 'a blob on its way could not be put in order');
  }
}

async function firstOf(
  { place, digest }: IngestTarget,
  { signal }: IngestRunOptions,
): Promise<OpenAnswer> {
  const first = await openAt({ place, digest, signal }, 0);
  if (first !== undefined) return first;
  throw ociError('BLOB_UNKNOWN', `${place.upstream.host} has no blob ${digest}`);
}

/** As the upstream says; one that says something else than its manifest is not believed. */
async function sizeOf(
  { place, digest }: IngestTarget,
  answered: number | undefined,
  {
    signal,
    store,
    blobs,
  }: Pick<IngestRunOptions, 'signal'> & Pick<IngestRunModules, 'store' | 'blobs'>,
): Promise<number> {
  const { upstream, remote, repository } = place;
  const named = await store.namedSize(repository, digest);
  const ask = { signal, urgency: 'interactive' as const };
  const size = answered ?? named ?? (await upstream.headBlob(remote, digest, ask))?.size;
  if (size === undefined) throw ociError('BLOB_UNKNOWN', `${upstream.host} has no blob ${digest}`);
  if (named !== undefined && named !== size) {
    const message = `${upstream.host} has ${size} bytes of ${digest}, its manifest says ${named}`;
    throw new CodedError(message, { code: 'SIZE_CHANGED' });
  }
  if (size <= blobs.sizeMax) return size;
  throw ociError('BLOB_UNKNOWN', `a blob of this hub has at most ${blobs.sizeMax} bytes`);
}

/** What was parked of it, if that is still there. @throws CodedError HELD_ELSEWHERE */
async function resumedOf(
  digest: Digest,
  parking: IngestParking,
  modules: IngestRunModules,
): Promise<IngestBytes | undefined> {
  const claim = await parking.claim();
  if (claim.kind === 'held') throw heldElsewhere(claim.holder);
  if (claim.kind === 'nothing') return undefined;
  const found = await IngestBytes.resume(digest, claim, modules);
  if (found === undefined) await parking.drop();
  return found;
}
