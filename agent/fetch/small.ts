import { digestAlgorithm, digestOf } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { abortable, deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { ContentStore } from '../store/port.ts';
import { askPeers } from './ask-peers.ts';
import { SMALL_FETCHES_MAX, SMALL_TIMEOUT_MS } from './constants.ts';
import { fetchError } from './errors.ts';
import { firstOf } from './first-of.ts';
import type { FetchMetrics } from './metrics.ts';
import type { CallOptions, HubSource, OpenRequest, PeerLink, Swarm } from './ports.ts';

export type SmallModules = {
  store: Pick<ContentStore, 'getSmall' | 'putSmall' | 'claim'>;
  swarm: Swarm;
  sourceOf: (namespace: string) => HubSource | undefined;
  /** Whether the hub answered of late. */
  online: () => boolean;
  metrics: FetchMetrics;
  logger: Logger;
};

type Found = Buffer | 'absent';

/** Manifests, configs and other blobs of at most 4 MiB: whole, checked before anybody sees them. */
export class SmallBlobs {
  readonly #fetching = new Map<string, Promise<Buffer | undefined>>();
  readonly #modules: SmallModules;

  constructor(modules: SmallModules) {
    this.#modules = modules;
  }

  /**
   * From the store, else from the hub or upstream, else from peers. undefined: the hub or upstream
   * says it is not there. The caller has checked the right to it.
   * @throws FetchError UNAVAILABLE, BUSY; the reason of the signal
   */
  async get(
    request: OpenRequest,
    kind: 'manifest' | 'blob',
    o: CallOptions,
  ): Promise<Buffer | undefined> {
    const { store, metrics } = this.#modules;
    const stored = await store.getSmall(request.digest);
    if (stored !== undefined) {
      store.claim(request.digest, request);
      metrics.bytes.inc({ source: 'local' }, stored.length);
      return stored;
    }
    const key = `${request.namespace}\n${request.repository}\n${request.digest}`;
    const running = this.#fetching.get(key);
    if (running !== undefined) return abortable(running, o.signal);
    if (this.#fetching.size >= SMALL_FETCHES_MAX) {
      throw fetchError('BUSY', `more than ${SMALL_FETCHES_MAX} small blobs are being fetched`);
    }
    const fetching = this.#fetch(request, kind).finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, fetching);
    return abortable(fetching, o.signal);
  }

  async #fetch(request: OpenRequest, kind: 'manifest' | 'blob'): Promise<Buffer | undefined> {
    const { digest, namespace, repository, grant } = request;
    const source = this.#modules.sourceOf(namespace);
    using limit = deadline(SMALL_TIMEOUT_MS);
    const ways = {
      main:
        source === undefined
          ? undefined
          : async (o: CallOptions): Promise<Found> =>
              (await source.small(repository, digest, kind, o)) ?? 'absent',
      other:
        grant === undefined
          ? undefined
          : (o: { signal: AbortSignal }) => this.#fromPeers(request, o),
      hedge: source?.kind === 'upstream' || this.#modules.online(),
    };
    let found: Found | undefined;
    let cause: unknown;
    try {
      found = await firstOf<Found>(ways, { signal: limit.signal });
    } catch (err) {
      cause = err;
    }
    if (found === undefined) {
      throw fetchError('UNAVAILABLE', `nobody has given ${digest}`, digest, cause);
    }
    if (found === 'absent') return undefined;
    await this.#keep(request, found);
    return found;
  }

  async #fromPeers(request: OpenRequest, o: { signal: AbortSignal }): Promise<Buffer | undefined> {
    const { digest, grant } = request;
    if (grant === undefined) return undefined;
    const { swarm, metrics } = this.#modules;
    const question = async (
      link: PeerLink,
      q: { signal: AbortSignal },
    ): Promise<Buffer | undefined> => {
      if (!(await link.openGrant(grant, q))) return undefined;
      const bytes = await link.blob(digest, q);
      if (bytes === undefined) return undefined;
      metrics.bytes.inc({ source: 'peer' }, bytes.length);
      if (digestOf(bytes, digestAlgorithm(digest)) === digest) return bytes;
      metrics.rejected.inc({ reason: 'blob_mismatch' });
      const fields = { digest, node: link.node };
      this.#modules.logger.warn(fields, 'peer sent other bytes than the digest; banning it');
      swarm.ban(link.peerId, 'blob-mismatch', fields);
      return undefined;
    };
    return askPeers(swarm, question, o);
  }

  async #keep(request: OpenRequest, bytes: Buffer): Promise<void> {
    const { digest } = request;
    try {
      await this.#modules.store.putSmall(digest, bytes, request);
    } catch (err) {
      this.#modules.logger.warn({ digest, reason: messageOf(err) }, 'small blob not stored');
    }
  }
}
