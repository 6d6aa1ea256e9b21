import { UNCHUNKED_MAX_BYTES } from '../../../proto/chunks/layout.ts';
import type { Digest } from '../../../proto/oci/digest.ts';
import { OciError } from '../../../proto/oci/errors.ts';
import type { Repository } from '../../../proto/oci/name.ts';
import type { Logger } from '../../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../../proto/std/errors.ts';
import type { OpenBlob } from '../../blobs/port.ts';
import type { ProvisionalBlobs } from '../../registry/provisional.ts';
import type { ReplicaRow } from '../../replicas/store.ts';
import { holderOf } from '../held-elsewhere.ts';
import type { HubLeaves } from '../hub-leaves.ts';
import type { ProvisionalMetrics } from './metrics.ts';
import type { Provisional } from './provisional.ts';

type Options = { signal?: AbortSignal | undefined };
type Target = { repository: Repository; digest: Digest };

type Modules = {
  own: Provisional;
  /** Those that can be asked; none where each hub is for itself. */
  others: HubLeaves | undefined;
  /** Size in bytes that a manifest of the repository says a blob has. */
  namedSize: (repository: string, digest: Digest) => Promise<number | undefined>;
  metrics: Pick<ProvisionalMetrics, 'forwards'>;
  logger: Logger;
};

/**
 * What members are told of blobs on their way where several hubs share a catalog: the same by each
 * of them, in one session. The hub that fetches a blob signs it with the keys of all hubs, and the
 * others pass that on. One that cannot be asked is as one that does not fetch the blob.
 */
export class SharedProvisional implements ProvisionalBlobs {
  readonly #modules: Modules;

  constructor(modules: Modules) {
    this.#modules = modules;
  }

  /** As of Provisional.batch. @throws OciError UNAVAILABLE; the reason of the signal */
  async batch(
    repository: Repository,
    digest: Digest,
    from: number | undefined,
    o: Options,
  ): Promise<Buffer | undefined> {
    const { own, others } = this.#modules;
    const target = { repository, digest };
    const question = from === undefined ? target : { ...target, from };
    const ask = (hub: ReplicaRow) => others?.batch(hub, question, o);
    if (from !== undefined || (await this.#hasLeaves(target))) {
      const told = await this.#ofOwner(target, ask, o);
      if (told !== undefined) return told;
    }
    try {
      return await own.batch(repository, digest, from, o);
    } catch (err) {
      if (!hasCode(err, 'HELD_ELSEWHERE')) throw err;
      return await this.#of(others?.named(holderOf(err)), ask, o);
    }
  }

  /** As Provisional.ahead, where this hub is the one to fetch the blob. */
  ahead(repository: Repository, digest: Digest): void {
    this.#modules.own.ahead(repository, digest);
  }

  /** How far a blob is that is on its way to this very hub; as Provisional.coming. */
  coming(repository: string, digest: Digest): { size: number; received: number } | undefined {
    return this.#modules.own.coming(repository, digest);
  }

  /** As Provisional.open. @throws OciError; the reason of the signal */
  async open(repository: Repository, digest: Digest, o: Options): Promise<OpenBlob | undefined> {
    const { own, others } = this.#modules;
    const target = { repository, digest };
    const ask = (hub: ReplicaRow) => others?.open(hub, target, o);
    return (await this.#ofOwner(target, ask, o)) ?? own.open(repository, digest, o);
  }

  /** Whether it is a blob of which there is anything to tell; the others are many. */
  async #hasLeaves({ repository, digest }: Target): Promise<boolean> {
    const { others, namedSize } = this.#modules;
    if (others?.ownerOf(digest) === undefined) return false;
    return ((await namedSize(repository, digest)) ?? 0) > UNCHUNKED_MAX_BYTES;
  }

  /** What the owner says of a blob that is not on its way to this hub. */
  async #ofOwner<T>(
    { repository, digest }: Target,
    ask: (hub: ReplicaRow) => Promise<T | undefined> | undefined,
    o: Options,
  ): Promise<T | undefined> {
    if (this.coming(repository, digest) !== undefined) return undefined;
    return this.#of(this.#modules.others?.ownerOf(digest), ask, o);
  }

  /** What a hub says, or the one that goes on with the blob instead. */
  async #of<T>(
    hub: ReplicaRow | undefined,
    ask: (hub: ReplicaRow) => Promise<T | undefined> | undefined,
    o: Options,
  ): Promise<T | undefined> {
    if (hub === undefined) return undefined;
    const { forwards } = this.#modules.metrics;
    try {
      const told = await this.#asked(hub, ask);
      forwards.inc({ result: told === undefined ? 'none' : 'told' });
      return told;
    } catch (err) {
      o.signal?.throwIfAborted();
      forwards.inc({ result: 'failed' });
      // That is its answer; all else is a hub that is gone, or not yet there.
      if (err instanceof OciError) throw err;
      const fields = { hub: hub.url, reason: messageOf(err) };
      this.#modules.logger.debug(fields, 'another hub tells nothing of a blob on its way');
      return undefined;
    }
  }

  async #asked<T>(
    hub: ReplicaRow,
    ask: (hub: ReplicaRow) => Promise<T | undefined> | undefined,
  ): Promise<T | undefined> {
    try {
      return await ask(hub);
    } catch (err) {
      const holder = this.#modules.others?.named(holderOf(err));
      if (holder === undefined) throw err;
      return ask(holder);
    }
  }
}
