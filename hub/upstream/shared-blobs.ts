import type { Digest } from '../../proto/oci/digest.ts';
import { abortable, deadline, sleep } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { ociError, OciError } from '../../proto/oci/errors.ts';
import type { OpenBlob } from '../blobs/port.ts';
import { CatalogError } from '../catalog/errors.ts';
import type { ReplicaRow } from '../replicas/store.ts';
import type { UpstreamBlobs } from './blobs.ts';
import { holderOf } from './held-elsewhere.ts';
import type { HubStreams, OtherHubs } from './hub-streams.ts';
import { PassedOnBlob } from './passed-on.ts';
import type { UpstreamPlace } from './port.ts';
import { MOVES_MAX, OWNER_LOOK_MS, OWNER_WAIT_MS } from './pull-constants.ts';

type Options = { signal: AbortSignal };
type Range = { start: number; end: number };
type Target = { place: UpstreamPlace; digest: Digest };

type Modules = {
  own: UpstreamBlobs;
  /** Those that can be asked; none where each hub is for itself. */
  others: { hubs: OtherHubs; streams: HubStreams } | undefined;
};

/** What another hub being gone, or not yet there, looks like. */
const PASSING = ['HUB_AWAY', 'HELD_ELSEWHERE', 'UND_ERR_SOCKET'];

/**
 * Blobs of upstreams where several hubs share a catalog: the owner of a digest fetches it, the
 * others read it there while it comes, and go on with another owner when that one is gone.
 */
export class SharedBlobs {
  readonly #modules: Modules;
  readonly #waitMs: number;

  constructor(options: { waitMs?: number | undefined }, modules: Modules) {
    this.#waitMs = options.waitMs ?? OWNER_WAIT_MS;
    this.#modules = modules;
  }

  /** @throws as UpstreamBlobs.openHere; OciError UNAVAILABLE when no hub goes on with it in time */
  async open(place: UpstreamPlace, digest: Digest, o: Options): Promise<OpenBlob> {
    const target = { place, digest };
    const first = await this.#route(target, o);
    return new MovingBlob(first, { next: () => this.#route(target, o), signal: o.signal });
  }

  /** Looks for a hub that has the blob or fetches it, this one included, for a while. */
  async #route(target: Target, o: Options): Promise<OpenBlob> {
    using limit = deadline(this.#waitMs, o.signal);
    for (;;) {
      try {
        const found = await this.#tryRoute(target, o);
        if (found !== undefined) return found;
      } catch (err) {
        o.signal.throwIfAborted();
        if (!hasCode(err, ...PASSING)) throw err;
      }
      try {
        await sleep(OWNER_LOOK_MS, limit);
        const looked = this.#modules.others?.hubs.refresh().catch(() => undefined);
        await abortable(looked ?? Promise.resolve(), limit.signal);
      } catch {
        o.signal.throwIfAborted();
        throw ociError('UNAVAILABLE', 'no hub goes on with this blob just now; try again');
      }
    }
  }

  /** undefined: nobody owns it just now. */
  async #tryRoute(target: Target, o: Options): Promise<OpenBlob | undefined> {
    const { place, digest } = target;
    const { own, others } = this.#modules;
    const isComing = own.isComing(place, digest);
    const here = isComing ? undefined : await own.stored(place, digest);
    if (here !== undefined) return here;
    const part = others?.hubs.ownership.partIn(digest);
    const isOurs = others === undefined || part?.kind === 'owner' || isComing;
    try {
      if (isOurs) return await own.openHere(place, digest, o);
      return part?.kind === 'other' ? await this.#at(part.replica, target, o) : undefined;
    } catch (err) {
      const holder = this.#replica(holderOf(err));
      if (holder === undefined) throw err;
      return this.#at(holder, target, o);
    }
  }

  /** Another hub of this name. */
  #replica(name: string | undefined): ReplicaRow | undefined {
    const { view, self } = this.#modules.others?.hubs.ownership ?? {};
    return view?.replicas.find(({ id }) => id === name && id !== self?.id);
  }

  async #at(hub: ReplicaRow, target: Target, o: Options): Promise<OpenBlob | undefined> {
    const { streams } = this.#modules.others ?? {};
    if (streams === undefined) return undefined;
    const blob = { repository: target.place.repository, digest: target.digest };
    const size = await streams.size(hub, blob, o);
    return new PassedOnBlob(size, { open: (range) => streams.open(hub, { ...blob, ...range }, o) });
  }
}

/** A blob whose bytes go on from another place when the one they come from is gone. */
class MovingBlob implements OpenBlob {
  readonly size: number;
  readonly isGrowing = true;
  readonly #modules: { next: () => Promise<OpenBlob>; signal: AbortSignal };
  #from: OpenBlob | undefined;
  #expected: Range | undefined;

  constructor(first: OpenBlob, modules: { next: () => Promise<OpenBlob>; signal: AbortSignal }) {
    this.size = first.size;
    this.#from = first;
    this.#modules = modules;
  }

  async expect(range: Range): Promise<boolean> {
    this.#expected = range;
    return (await this.#from?.expect?.(range)) ?? true;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const { signal } = this.#modules;
    for (let moves = 0; ; moves += 1) {
      this.#from ??= await this.#next();
      try {
        return await this.#from.read(into, position);
      } catch (err) {
        signal.throwIfAborted();
        if (moves >= MOVES_MAX || isFinal(err)) throw err;
      }
      await this.#leave();
      await sleep(OWNER_LOOK_MS, { signal });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#leave();
  }

  async #next(): Promise<OpenBlob> {
    const next = await this.#modules.next();
    if (next.size === this.size) {
      if (this.#expected !== undefined) await next.expect?.(this.#expected);
      return next;
    }
    await next[Symbol.asyncDispose]();
    throw new Error(`the blob has ${next.size} bytes now and had ${this.size}`);
  }

  async #leave(): Promise<void> {
    const from = this.#from;
    this.#from = undefined;
    await from?.[Symbol.asyncDispose]();
  }
}

function isFinal(err: unknown): boolean {
  return err instanceof OciError || err instanceof CatalogError || hasCode(err, 'INGEST_WRONG');
}
