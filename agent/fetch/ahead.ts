import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { isForeignLayer, parseManifest, type Descriptor } from '../../proto/oci/manifest.ts';
import { isOfUpstream } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { deadline } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { Semaphore } from '../../proto/std/semaphore.ts';
import type { ContentStore } from '../store/port.ts';
import { AHEAD_QUESTIONS_MAX, OPEN_TIMEOUT_MS } from './constants.ts';
import type { SharePlace } from './node-shares.ts';
import type { HubSource } from './ports.ts';

export type AheadModules = {
  store: Pick<ContentStore, 'find' | 'growing' | 'isOnNode'>;
  sourceOf: (namespace: string) => HubSource | undefined;
  logger: Logger;
};

/**
 * Tells the hub which layer a runtime will ask for next: who resolves an image of an upstream
 * begins to pull it in a moment, and the hub may have to bring it from far away.
 */
export class Ahead {
  readonly #modules: AheadModules;
  readonly #questions = new Semaphore({ permits: AHEAD_QUESTIONS_MAX, queueMax: 0 });

  constructor(modules: AheadModules) {
    this.#modules = modules;
  }

  /** A manifest was resolved under `place`. Never throws, and waits for nothing. */
  notice(place: SharePlace, manifest: Buffer): void {
    const source = this.#modules.sourceOf(place.namespace);
    if (source?.kind !== 'hub' || source.ahead === undefined) return;
    if (!isOfUpstream(place.repository)) return;
    const turn = this.#questions.tryAcquire();
    if (turn !== undefined) void this.#tell(source, place, manifest, turn);
  }

  async #tell(
    source: HubSource,
    { repository }: SharePlace,
    manifest: Buffer,
    turn: Disposable,
  ): Promise<void> {
    using held = turn;
    void held;
    using limit = deadline(OPEN_TIMEOUT_MS);
    try {
      const next = await this.#next(manifest);
      if (next !== undefined) await source.ahead?.(repository, next.digest, limit);
    } catch (err) {
      const fields = { repository, reason: messageOf(err) };
      this.#modules.logger.debug(fields, 'the hub is told of no layer ahead');
    }
  }

  /** The first layer that is not here, if it is one that comes in chunks. */
  async #next(manifest: Buffer): Promise<Descriptor | undefined> {
    const { store } = this.#modules;
    for (const layer of parseManifest(manifest).layers) {
      const { digest, size } = layer;
      if (isForeignLayer(layer) || size <= UNCHUNKED_MAX_BYTES) continue;
      if (store.find(digest) !== undefined || store.growing(digest) !== undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- the first one counts
      if (!(await store.isOnNode(digest))) return layer;
    }
    return undefined;
  }
}
