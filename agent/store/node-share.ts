import { rm } from 'node:fs/promises';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { sleep } from '../../proto/std/abort.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Semaphore } from '../../proto/std/semaphore.ts';
import type { BlobPaths } from './blob-paths.ts';
import { entryOfBlob } from './holdings.ts';
import type { Holdings } from './holdings.ts';
import { META_MAX_BYTES, NODE_LOOKS, NODE_LOOK_MS, NODE_REFUSED_MAX } from './constants.ts';
import { readBoundedNow, replaceFile } from './files.ts';
import { decodeMeta, encodeMeta } from './meta-file.ts';
import type { StoreMetrics } from './metrics.ts';
import { NodeBlob } from './node-blob.ts';
import type { NodeLoss } from './node-blob.ts';
import { NodeContent } from './node-content.ts';
import type { CreateBlob } from './port.ts';
import type { StoreIndex } from './store-index.ts';

export type NodeShareModules = {
  paths: BlobPaths;
  index: StoreIndex;
  proving: Semaphore;
  logger: Logger;
  metrics: StoreMetrics;
  holdings: Holdings;
};

/** What containerd has on this node, shared without a copy: facts are kept here, bytes are not. */
export class NodeShare {
  readonly content: NodeContent;
  readonly #modules: NodeShareModules;
  readonly #stop = new AbortController();
  /** Whose bytes there are wrong; until the next start they are fetched like any other. */
  readonly #refused = new Set<Digest>();
  #running: Promise<void> | undefined;

  constructor(folder: string, modules: NodeShareModules) {
    this.content = new NodeContent(folder);
    this.#modules = modules;
  }

  /** Whether containerd has a file for this blob. Its bytes are proved when they are used. */
  async has(digest: Digest, size?: number): Promise<boolean> {
    if (this.#refused.has(digest)) return false;
    const found = await this.content.size(digest);
    return size === undefined ? found !== undefined : found === size;
  }

  /**
   * Keeps the facts of a blob that is there. The caller lets go of it once it is in use.
   * @throws StoreError DISK_FULL, IO
   */
  async share(facts: CreateBlob): Promise<{ blob: NodeBlob; hold: Disposable }> {
    const { holdings, metrics } = this.#modules;
    using making = await holdings.make(facts.digest);
    void making;
    const blob = this.blob(facts);
    const hold = blob.hold();
    try {
      await holdings.ledger.admit(entryOfBlob(blob));
      await this.save(facts);
    } catch (err) {
      holdings.forget(facts.digest);
      throw err;
    }
    metrics.nodeShared.inc();
    holdings.put(blob);
    return { blob, hold };
  }

  /** The blob that these facts are about. */
  blob(facts: CreateBlob): NodeBlob {
    const { digest } = facts;
    const { index, paths, proving } = this.#modules;
    return new NodeBlob(facts, {
      proving,
      content: this.content,
      used: () => index.touch(digest),
      lost: (why) => void this.#lost(digest, why),
      remove: () => rm(paths.node(digest), { force: true }),
      save: (news) => this.save(news),
    });
  }

  /** Writes the facts down, for the next start. */
  async save(facts: CreateBlob): Promise<void> {
    const { paths } = this.#modules;
    await replaceFile(paths.node(facts.digest), paths.temporary(), encodeMeta(facts));
  }

  /** What save() wrote; undefined when it is damaged. @throws StoreError IO */
  loadNow(digest: Digest): NodeBlob | undefined {
    const bytes = readBoundedNow(this.#modules.paths.node(digest), META_MAX_BYTES);
    const facts = bytes === undefined ? undefined : decodeMeta(bytes, digest);
    return facts === undefined ? undefined : this.blob(facts);
  }

  /** Begins to look for files that containerd has deleted. */
  start(): void {
    this.#running ??= this.#watch();
  }

  /** Looks at all files once. */
  async look(): Promise<void> {
    const { index, holdings } = this.#modules;
    let after = '';
    for (;;) {
      const entries = index.nodes(after, NODE_LOOKS);
      const last = entries.at(-1);
      if (last === undefined) return;
      after = last.digest;
      for (const { digest } of entries) {
        const blob = holdings.peek(digest);
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        if (blob?.kind === 'node') await blob.look();
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        else if (!(await this.has(digest))) await this.#lost(digest, 'vanished');
      }
    }
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the store is closing'));
    await this.#running;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- until the stop
        await this.look();
        // oxlint-disable-next-line no-await-in-loop -- until the stop
        await sleep(NODE_LOOK_MS, { signal });
      } catch (err) {
        if (signal.aborted) return;
        this.#modules.logger.warn(
          { reason: messageOf(err) },
          'content of containerd not looked at',
        );
      }
    }
  }

  async #lost(digest: Digest, why: NodeLoss): Promise<void> {
    const { metrics, logger, holdings } = this.#modules;
    try {
      // A reader and the look around may find out at the same time.
      if (holdings.entry(digest)?.kind !== 'node') return;
      metrics.nodeLost.inc({ reason: why });
      if (why === 'damaged') {
        const text = 'a file of containerd does not hold what its name says; not shared';
        logger.warn({ digest }, text);
        if (this.#refused.size < NODE_REFUSED_MAX) this.#refused.add(digest);
      }
      await holdings.drop(digest);
    } catch (err) {
      logger.debug({ reason: messageOf(err) }, 'facts about a lost blob were not deleted');
    }
  }
}
