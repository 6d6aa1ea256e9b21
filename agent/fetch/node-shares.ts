import type { Digest } from '../../proto/oci/digest.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import type { ParsedManifest } from '../../proto/oci/manifest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { ContentStore } from '../store/port.ts';
import { OPEN_TIMEOUT_MS, SHARES_WAITING_MAX } from './constants.ts';
import { statedFacts } from './facts.ts';
import type { FactModules } from './facts.ts';
import type { AnnounceItem, HubSource } from './ports.ts';

export type SharePlace = { namespace: string; repository: Repository };

type Waiting = { place: SharePlace; kind: 'manifest' | 'layer' };

export type NodeShareModules = FactModules & {
  store: Pick<ContentStore, 'find' | 'create' | 'isOnNode' | 'getSmall' | 'sharesNode'>;
  sourceOf: (namespace: string) => HubSource | undefined;
  /** Tells the tracker what is held. */
  announce: (item: AnnounceItem) => void;
  logger: Logger;
};

/**
 * Makes what the runtime of this node has already known to the fleet: when an image is resolved
 * here, its layers that lie in the runtime's own store need no download, only their statements.
 */
export class NodeShares {
  readonly #modules: NodeShareModules;
  readonly #waiting = new Map<Digest, Waiting>();
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor(modules: NodeShareModules) {
    this.#modules = modules;
  }

  /**
   * An image was resolved under `place`: looks in the background what of it is on this node. Never
   * throws.
   */
  notice(place: SharePlace, manifest: Digest, bytes?: Buffer): void {
    if (!this.#modules.store.sharesNode || this.#stop.signal.aborted) return;
    if (bytes === undefined) this.#wait(manifest, { place, kind: 'manifest' });
    else this.#follow(place, bytes);
    if (this.#waiting.size > 0) this.#running ??= this.#run();
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the agent is stopping'));
    this.#waiting.clear();
    await this.#running;
  }

  async #run(): Promise<void> {
    // What is noticed meanwhile joins the end of the map.
    for (const [digest, { place, kind }] of this.#waiting) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- one after the other, behind all else
        await (kind === 'layer' ? this.#share(digest, place) : this.#read(digest, place));
      } catch (err) {
        const fields = { digest, reason: messageOf(err) };
        this.#modules.logger.debug(fields, 'what the runtime has is not shared');
      }
      this.#waiting.delete(digest);
    }
    // At once: what is noticed in a moment would otherwise join a run that has ended.
    this.#running = undefined;
  }

  #wait(digest: Digest, waiting: Waiting): void {
    if (this.#waiting.size < SHARES_WAITING_MAX) this.#waiting.set(digest, waiting);
  }

  async #read(digest: Digest, place: SharePlace): Promise<void> {
    const bytes = await this.#modules.store.getSmall(digest);
    if (bytes !== undefined) this.#follow(place, bytes);
  }

  /** Of an index only the manifests that are here matter; the others have no layers here. */
  #follow(place: SharePlace, bytes: Buffer): void {
    const { manifests, layers } = readManifest(bytes);
    for (const { digest } of manifests) this.#wait(digest, { place, kind: 'manifest' });
    for (const { digest } of layers) this.#wait(digest, { place, kind: 'layer' });
  }

  async #share(digest: Digest, place: SharePlace): Promise<void> {
    const { store, sourceOf } = this.#modules;
    const { namespace, repository } = place;
    const source = sourceOf(namespace);
    if (source === undefined || store.find(digest) !== undefined) return;
    if (!(await store.isOnNode(digest))) return;
    using limit = deadline(OPEN_TIMEOUT_MS, this.#stop.signal);
    const request = { namespace, repository, digest, grant: undefined };
    // No other question: the hub would fetch what it does not have, and nobody asked for it.
    const facts = await statedFacts(request, source, this.#modules, { signal: limit.signal });
    if (facts === undefined) return;
    const { size, statement, hashes } = facts;
    // The file may be gone by now, and an empty blob is of no use to anybody.
    if (!(await store.isOnNode(digest))) return;
    const origin = { namespace, repository };
    const { have, complete } = await store.create({ digest, size, statement, hashes, origin });
    this.#modules.announce({ ...origin, digest, size, complete, have, hubChunksWanted: 0 });
  }
}

/** Bytes that are no manifest name nothing. */
function readManifest(bytes: Buffer): Pick<ParsedManifest, 'manifests' | 'layers'> {
  try {
    return parseManifest(bytes);
  } catch {
    return { manifests: [], layers: [] };
  }
}
