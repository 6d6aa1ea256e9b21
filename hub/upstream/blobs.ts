import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { BlobReader, OpenBlob } from '../blobs/port.ts';
import type { Catalog } from '../catalog/port.ts';
import type { UpstreamIngests } from './ingests.ts';
import { openAt } from './ingest-stream.ts';
import type { Negatives } from './negatives.ts';
import { PassedOnBlob, type StreamOpener } from './passed-on.ts';
import type { UpstreamPlace } from './port.ts';
import { LINK_SOURCES_MAX, PASSED_ON_MAX, READ_STALL_MS } from './pull-constants.ts';
import type { PullMetrics } from './pull-metrics.ts';
import { refusalOf } from './refusals.ts';
import type { UpstreamStore } from './store.ts';

type Options = { signal: AbortSignal };

type Modules = {
  ingests: UpstreamIngests;
  blobs: Pick<BlobReader, 'open' | 'stat'>;
  catalog: Pick<Catalog, 'blob' | 'blobIn' | 'repositoriesWith' | 'linkBlob'>;
  store: Pick<UpstreamStore, 'namedSize'>;
  /** Whether everybody may read a repository. */
  isPublic: (repository: string) => Promise<boolean>;
  negatives: Negatives;
  metrics: Pick<PullMetrics, 'linked' | 'passedOn'>;
};

/** Blobs of upstreams: those that are here already, and those that have to come. */
export class UpstreamBlobs {
  readonly #now: () => number;
  readonly #modules: Modules;
  #passedOn = 0;

  /** `now`: ms since 1970. */
  constructor(options: { now: () => number }, modules: Modules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  /**
   * A blob that is here, or on its way to this very hub from now on.
   * @throws OciError BLOB_UNKNOWN, UpstreamAway; CodedError HELD_ELSEWHERE; errors of catalog and
   * store
   */
  async openHere(place: UpstreamPlace, digest: Digest, o: Options): Promise<OpenBlob> {
    const here = await this.stored(place, digest);
    if (here !== undefined) return here;
    this.#refuseUnknown(place, digest);
    const { ingests } = this.#modules;
    try {
      if (ingests.isFull) return await this.#passOn(place, digest, o);
      return await ingests.open(place, digest, o);
    } catch (err) {
      o.signal.throwIfAborted();
      if (hasCode(err, 'NO_SPACE')) return this.#passOn(place, digest, o);
      if (hasCode(err, 'HELD_ELSEWHERE')) throw err;
      throw this.#noted(err, place, digest);
    }
  }

  /**
   * Sets a blob on its way to this very hub unless it is stored here, or public here. Resolves when
   * it is on its way, or nothing is to be done. @throws as openHere
   */
  async begin(place: UpstreamPlace, digest: Digest, o: Options): Promise<void> {
    const opened = await this.openHere(place, digest, o);
    await opened[Symbol.asyncDispose]();
  }

  /**
   * Brings the first bytes of a blob here in case that somebody asks for it in a moment.
   * @throws as openHere
   */
  async ahead(place: UpstreamPlace, digest: Digest): Promise<void> {
    const here = await this.stored(place, digest);
    await here?.[Symbol.asyncDispose]();
    const { ingests } = this.#modules;
    if (here !== undefined || ingests.isFull) return;
    this.#refuseUnknown(place, digest);
    await ingests.ahead(place, digest);
  }

  /** Whether it is on its way to this very hub. */
  isComing({ repository }: UpstreamPlace, digest: Digest): boolean {
    return this.#modules.ingests.find(repository, digest) !== undefined;
  }

  /** Size of a blob, without bringing it here. @throws as openHere */
  async head(place: UpstreamPlace, digest: Digest, o: Options): Promise<{ size: number }> {
    const { ingests, blobs } = this.#modules;
    const running = ingests.find(place.repository, digest);
    if (running !== undefined) return running;
    if (await this.#isLinked(place, digest)) {
      const stored = await blobs.stat(digest);
      if (stored !== undefined) return stored;
    }
    this.#refuseUnknown(place, digest);
    try {
      const { upstream, remote } = place;
      const ask = { signal: o.signal, urgency: 'interactive' as const };
      const found = await upstream.headBlob(remote, digest, ask);
      if (found !== undefined) return found;
      throw unknown(place, digest);
    } catch (err) {
      o.signal.throwIfAborted();
      throw this.#noted(err, place, digest);
    }
  }

  /** The blob as it is stored, if this repository has it or may have it without asking. */
  async stored(place: UpstreamPlace, digest: Digest): Promise<OpenBlob | undefined> {
    const { blobs, catalog } = this.#modules;
    if (!(await this.#isLinked(place, digest))) return undefined;
    const [known, blob] = [
      await catalog.blobIn(place.repository, digest),
      await blobs.open(digest),
    ];
    if (known !== undefined && blob?.size === known.size) return blob;
    await blob?.[Symbol.asyncDispose]();
    return undefined;
  }

  /**
   * Bytes that everybody may read here are given to a repository of which a manifest names them:
   * that tells nobody anything, and makes no repository that its upstream does not have. All others
   * are fetched of the very upstream that is asked.
   */
  async #isLinked({ repository, upstream }: UpstreamPlace, digest: Digest): Promise<boolean> {
    const { catalog, store, blobs, isPublic, metrics } = this.#modules;
    if ((await catalog.blobIn(repository, digest)) !== undefined) return true;
    const known = await catalog.blob(digest);
    if (known === undefined || (await blobs.stat(digest))?.size !== known.size) return false;
    if ((await store.namedSize(repository, digest)) === undefined) return false;
    for (const other of await catalog.repositoriesWith(digest, LINK_SOURCES_MAX)) {
      if (!(await isPublic(other))) continue;
      if (!(await catalog.linkBlob(repository, digest))) return false;
      metrics.linked.inc({ upstream: upstream.host });
      return true;
    }
    return false;
  }

  /** Without room here, bytes go from the upstream to the reader and nowhere else. */
  async #passOn(place: UpstreamPlace, digest: Digest, { signal }: Options): Promise<OpenBlob> {
    const { upstream, remote, policy } = place;
    if (policy.provisional !== 'readers' || this.#passedOn >= PASSED_ON_MAX) {
      throw ociError('UNAVAILABLE', 'the hub has no room left to fetch this into; free some');
    }
    this.#passedOn += 1;
    let isOpen = true;
    const closed = (): void => {
      if (isOpen) this.#passedOn -= 1;
      isOpen = false;
    };
    const open: StreamOpener = async ({ start }) => {
      const stallMs = READ_STALL_MS;
      const answer = await openAt({ place, digest, signal, stallMs }, start);
      if (answer === undefined) throw unknown(place, digest);
      return answer;
    };
    try {
      const ask = { signal, urgency: 'interactive' as const };
      const found = await upstream.headBlob(remote, digest, ask);
      if (found === undefined) throw unknown(place, digest);
      this.#modules.metrics.passedOn.inc({ upstream: upstream.host });
      return new PassedOnBlob(found.size, { open, closed });
    } catch (err) {
      closed();
      throw this.#noted(err, place, digest);
    }
  }

  #refuseUnknown(place: UpstreamPlace, digest: Digest): void {
    if (this.#modules.negatives.has(keyOf(place, digest))) throw unknown(place, digest);
  }

  #noted(err: unknown, place: UpstreamPlace, digest: Digest): unknown {
    const { negatives } = this.#modules;
    if (hasCode(err, 'BLOB_UNKNOWN')) {
      negatives.add(keyOf(place, digest), place.policy.negativeMs);
    }
    return refusalOf(err, place.upstream.host, this.#now());
  }
}

function keyOf({ repository }: UpstreamPlace, digest: Digest): string {
  return `${repository} blob ${digest}`;
}

function unknown({ upstream }: UpstreamPlace, digest: Digest): Error {
  return ociError('BLOB_UNKNOWN', `${upstream.host} has no blob ${digest} there`);
}
