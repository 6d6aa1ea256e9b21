import { LRUCache } from 'lru-cache';
import { distributionError } from '../../proto/distribution/errors.ts';
import { fallbackTag, referrersOf } from '../../proto/distribution/lists.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseManifest } from '../../proto/oci/manifest.ts';
import { isManifestMediaType } from '../../proto/oci/media-types.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { RateBudget } from '../../proto/std/rate-budget.ts';
import type { Budget } from './budget.ts';
import type { UpstreamClientMetrics } from './client-metrics.ts';
import { TAG_PAGE_AGE_MS, TAG_PAGES_MAX } from './constants.ts';
import { upstreamError } from './errors.ts';
import type { AskOptions, Upstream, UpstreamBody, UpstreamHead } from './port.ts';
import type { RequestKind, Sender, SenderClock } from './sender.ts';
import { isAllowed } from './upstreams.ts';

type Ask<T> = Parameters<typeof Sender.prototype.send<T>>[2];

/** Where a list of tags goes on, or that it does not. */
type Position = { next: string | undefined };

export type UpstreamClientModules = {
  sender: Sender;
  budget: Budget;
  /** Bytes per second; undefined: not bounded. */
  bandwidth: RateBudget | undefined;
  metrics: UpstreamClientMetrics;
  clock: SenderClock;
};

/** One configured registry, asked within its limits. */
export class UpstreamClient implements Upstream {
  readonly name: string;
  readonly host: string;
  readonly #repositories: readonly string[];
  readonly #modules: UpstreamClientModules;
  readonly #positions = new LRUCache<string, Position>({
    max: TAG_PAGES_MAX,
    ttl: TAG_PAGE_AGE_MS,
  });

  /** `host` as in image names; `repositories`: globs, none allow all. */
  constructor(
    options: { name: string; host: string; repositories: readonly string[] },
    modules: UpstreamClientModules,
  ) {
    this.name = options.name;
    this.host = options.host;
    this.#repositories = options.repositories;
    this.#modules = modules;
  }

  headManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions & { ifNoneMatch?: string | undefined },
  ): Promise<UpstreamHead | 'unchanged' | undefined> {
    const { ifNoneMatch } = o;
    return this.#ask('manifest-head', repository, o, (client, own) =>
      client.askManifest(repository, reference, { ...own, ifNoneMatch }),
    );
  }

  async getManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions,
  ): Promise<{ bytes: Buffer; digest: Digest; mediaType: string } | undefined> {
    const pull = (): ReturnType<UpstreamClient['getManifest']> =>
      this.#ask('pull', repository, o, (client, own) =>
        client.getManifest(repository, reference, own),
      );
    const found = await pull().catch(async (err: unknown) => {
      if (!(await this.#isCountWrong(repository, reference, o, err))) throw err;
      return pull();
    });
    return found && { ...found, mediaType: mediaTypeOf(found) };
  }

  headBlob(
    repository: Repository,
    digest: Digest,
    o: AskOptions,
  ): Promise<{ size: number } | undefined> {
    return this.#ask('blob-head', repository, o, (client, own) =>
      client.headBlob(repository, digest, own),
    );
  }

  async openBlob(
    repository: Repository,
    digest: Digest,
    o: AskOptions & { start?: number; end?: number },
  ): Promise<UpstreamBody | undefined> {
    this.#checkAllowed(repository);
    const { start, end } = o;
    const range = {
      ...(start === undefined ? {} : { start }),
      ...(end === undefined ? {} : { end }),
    };
    const { value, slot } = await this.#modules.sender.send('blob', o, (client, own) =>
      client.openBlob(repository, digest, { ...own, ...range }),
    );
    if (value === undefined) {
      slot[Symbol.dispose]();
      return undefined;
    }
    const release = (): void => {
      o.signal?.removeEventListener('abort', release);
      slot[Symbol.dispose]();
    };
    o.signal?.addEventListener('abort', release);
    return { ...value, body: this.#counted(value.body, release, o.signal) };
  }

  async tags(
    repository: Repository,
    { n, last }: { n: number; last?: string | undefined },
    o: AskOptions,
  ): Promise<string[] | undefined> {
    const known = last === undefined ? undefined : this.#positions.get(`${repository} ${last}`);
    if (known !== undefined && known.next === undefined) return [];
    const page = known?.next === undefined ? { n, last } : { next: known.next };
    const found = await this.#ask('tags', repository, o, (client, own) =>
      client.tagPage(repository, page, own),
    );
    if (found === undefined) return undefined;
    // Some registries send all tags, whatever page is asked for.
    const tags = last === undefined ? found.tags : found.tags.slice(found.tags.indexOf(last) + 1);
    const end = tags.at(-1);
    if (end !== undefined) this.#positions.set(`${repository} ${end}`, { next: found.next });
    return tags;
  }

  async referrers(
    repository: Repository,
    subject: Digest,
    o: AskOptions,
  ): ReturnType<Upstream['referrers']> {
    const listed = await this.#ask('referrers', repository, o, (client, own) =>
      client.listReferrers(repository, subject, own),
    );
    if (listed !== undefined) return listed;
    const tag = fallbackTag(subject);
    // Most manifests have no such tag, and a HEAD is not counted.
    if ((await this.headManifest(repository, tag, o)) === undefined) return undefined;
    return this.#ask('pull', repository, o, async (client, own) => {
      const found = await client.getManifest(repository, tag, own);
      return found && referrersOf(found.bytes);
    });
  }

  async #ask<T>(
    kind: RequestKind,
    repository: Repository,
    o: AskOptions,
    work: Ask<T>,
  ): Promise<T> {
    this.#checkAllowed(repository);
    const { value, slot } = await this.#modules.sender.send(kind, o, work);
    slot[Symbol.dispose]();
    return value;
  }

  #checkAllowed(repository: Repository): void {
    if (isAllowed(this.#repositories, repository)) return;
    const message = `this hub does not pull ${repository} of ${this.host}`;
    throw upstreamError({ code: 'NOT_ALLOWED', upstream: this.host }, message);
  }

  /**
   * Whether a pull that was not sent may be after all: what is left comes in as the registry
   * likes, and it tells that with a HEAD, which it does not count.
   */
  async #isCountWrong(
    repository: Repository,
    reference: Reference,
    o: AskOptions,
    err: unknown,
  ): Promise<boolean> {
    const { budget, sender } = this.#modules;
    const wasSent = !(err instanceof Error) || err.cause !== undefined;
    if (wasSent || !hasCode(err, 'RATE_LIMITED')) return false;
    const { accounts } = await budget.order();
    const asked = accounts
      .filter((account) => budget.mayProbe(account))
      .map(async (account) => {
        const head = sender.send(
          'manifest-head',
          o,
          (client, own) => client.askManifest(repository, reference, own),
          account,
        );
        (await head).slot[Symbol.dispose]();
      });
    const results = await Promise.allSettled(asked);
    return results.some(({ status }) => status === 'fulfilled');
  }

  async *#counted(
    body: AsyncIterable<Buffer>,
    release: () => void,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Buffer, void, undefined> {
    const { bandwidth, metrics, clock } = this.#modules;
    try {
      for await (const part of body) {
        metrics.bytes.inc({ upstream: this.host }, part.length);
        const waitMs = bandwidth?.take(part.length) ?? 0;
        if (waitMs > 0) await clock.sleep(waitMs, { signal });
        yield part;
      }
    } finally {
      release();
    }
  }
}

/** The type of a manifest; what is none, such as a page for people, is refused. */
function mediaTypeOf({ bytes, mediaType }: { bytes: Buffer; mediaType: string }): string {
  try {
    return parseManifest(bytes, isManifestMediaType(mediaType) ? mediaType : undefined).mediaType;
  } catch (err) {
    const message = `the answer is no manifest, it came as ${mediaType || 'nothing'}`;
    throw distributionError({ code: 'ANSWER_INVALID' }, message, err);
  }
}
