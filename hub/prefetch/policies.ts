import { parseReference, parseTag } from '../../proto/oci/name.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Repository } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { fitsGlob, isGlob } from '../access/glob.ts';
import { isAccountName } from '../access/project.ts';
import { nextTime, parseCron } from '../jobs/cron.ts';
import {
  POLICIES_MAX,
  PUSHES_WAITING_MAX,
  SCHEDULED_TAGS_LOOKED_MAX,
  SCHEDULED_TAGS_MAX,
} from './constants.ts';
import { invalidOrder, PrefetchError, unknown } from './errors.ts';
import type { PrefetchMetrics } from './metrics.ts';
import type { Orders } from './orders.ts';
import type { Images } from './ports.ts';
import { checkChoice } from './selection.ts';
import type { Orderer, Policy, PolicySpec, PrefetchStore } from './store.ts';

/** Tags that were set by a push. */
export type Pushed = { repository: Repository; digest: Digest; tags: readonly string[] };

type Modules = {
  store: PrefetchStore;
  orders: Pick<Orders, 'order'>;
  images: Pick<Images, 'tags' | 'repositoryOf'>;
  metrics: PrefetchMetrics;
  logger: Logger;
};

/** Policies are the admin's: nobody else may make them. */
const BY: Orderer = { subject: 'admin', epoch: '' };

/** Orders by rule: when an image is pushed, and at times. */
export class Policies {
  readonly #now: () => number;
  readonly #modules: Modules;
  #pushes = 0;
  #pushing: Promise<void> = Promise.resolve();

  constructor(options: { now: () => number }, modules: Modules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  list(): Promise<Policy[]> {
    return this.#modules.store.policies();
  }

  /** @throws PrefetchError UNKNOWN */
  async find(name: string): Promise<Policy> {
    const policy = await this.#modules.store.policy(name);
    if (policy === undefined) throw unknown(`no policy ${name}`);
    return policy;
  }

  /** Makes one, or changes the one of its name. @throws PrefetchError INVALID, FULL */
  async put(name: string, spec: PolicySpec): Promise<Policy> {
    const { store, images } = this.#modules;
    if (!isAccountName(name)) {
      throw invalidOrder('a name is lower-case letters and digits with ".", "_" or "-" between');
    }
    checkChoice(spec.choice);
    const createdAtMs = this.#now();
    const isPattern = spec.repository.includes('*');
    if (isPattern && spec.on !== 'push') {
      throw invalidOrder('a policy with a schedule names one repository');
    }
    if (isPattern && !isGlob(spec.repository)) {
      throw invalidOrder(`"${spec.repository}" is no pattern for repositories`);
    }
    const repository = isPattern ? spec.repository : images.repositoryOf(spec.repository);
    const next = spec.on === 'push' ? {} : { nextAtMs: nextOf(spec.on.cron, createdAtMs) };
    await this.#put({ ...spec, repository, name, createdAtMs, ...next, note: '' });
    return (await store.policy(name)) ?? this.find(name);
  }

  /** @throws PrefetchError UNKNOWN */
  async delete(name: string): Promise<void> {
    if (!(await this.#modules.store.deletePolicy(name))) throw unknown(`no policy ${name}`);
  }

  /**
   * Orders what a policy with one repository names now; ids of the orders.
   * @throws PrefetchError INVALID for one that only follows pushes
   */
  async run(policy: Policy): Promise<string[]> {
    const { store } = this.#modules;
    if (policy.repository.includes('*')) {
      throw invalidOrder(`${policy.name} names no single repository: it follows pushes`);
    }
    const repository = this.#modules.images.repositoryOf(policy.repository);
    const { tags, more } = await this.#tagsOf(repository, policy.tag);
    const ordered: string[] = [];
    const refused: string[] = [];
    for (const tag of tags) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const id = await this.#order(policy, repository, tag, refused);
      if (id !== undefined) ordered.push(id);
    }
    const counted = `${ordered.length} of ${tags.length} tags ordered`;
    const surplus = more ? `; only the first ${SCHEDULED_TAGS_MAX} that fit are taken` : '';
    const faults = refused.length === 0 ? '' : `; ${refused[0]}`;
    await store.notePolicy(policy.name, `${counted}${surplus}${faults}`);
    return ordered;
  }

  /** Tags were set: whatever policies want of them is ordered in the background. */
  pushed(push: Pushed): void {
    if (push.tags.length === 0) return;
    const { logger } = this.#modules;
    const { repository } = push;
    if (this.#pushes >= PUSHES_WAITING_MAX) {
      logger.warn({ repository }, 'too many pushes at once: policies of prefetch miss this one');
      return;
    }
    this.#pushes += 1;
    this.#pushing = this.#pushing
      .then(() => this.#follow(push))
      .catch((err: unknown) => {
        const reason = messageOf(err);
        logger.warn({ repository, reason }, 'policies of prefetch could not follow a push');
      })
      .finally(() => {
        this.#pushes -= 1;
      });
  }

  /** Resolves when all pushes so far were looked at. */
  async settled(): Promise<void> {
    await this.#pushing;
  }

  /** Runs what is due by schedule; one hub does. */
  async look(signal: AbortSignal): Promise<void> {
    const { store, logger } = this.#modules;
    const nowMs = this.#now();
    for (const policy of await store.policies()) {
      const { name, on, nextAtMs, enabled } = policy;
      if (on === 'push' || !enabled || (nextAtMs !== undefined && nextAtMs > nowMs)) continue;
      signal.throwIfAborted();
      try {
        // oxlint-disable-next-line no-await-in-loop -- one policy after the other
        const isMine = await store.movePolicy(name, nextAtMs, nextOf(on.cron, nowMs));
        // One that was restored has no time yet.
        // oxlint-disable-next-line no-await-in-loop -- one policy after the other
        if (isMine && nextAtMs !== undefined) await this.run(policy);
      } catch (err) {
        const reason = messageOf(err);
        logger.warn({ policy: name, reason }, 'a policy of prefetch failed');
        // oxlint-disable-next-line no-await-in-loop -- one policy after the other
        await store.notePolicy(name, reason);
      }
    }
  }

  async #put(policy: Policy): Promise<void> {
    const verdict = await this.#modules.store.putPolicy(policy, { max: POLICIES_MAX });
    if (verdict === 'ok') return;
    const message = `the hub has ${POLICIES_MAX} policies already`;
    throw new PrefetchError(message, { code: 'FULL', max: POLICIES_MAX });
  }

  async #follow({ repository, digest, tags }: Pushed): Promise<void> {
    const policies = await this.#modules.store.policies();
    for (const policy of policies) {
      if (policy.on !== 'push' || !policy.enabled) continue;
      if (!fitsGlob(policy.repository, repository)) continue;
      for (const tag of tags.filter((one) => fitsGlob(policy.tag, one))) {
        const refused: string[] = [];
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#order(policy, repository, tag, refused);
        const said = refused[0] ?? `ordered ${repository}:${tag} (${digest})`;
        // oxlint-disable-next-line no-await-in-loop -- one after the other
        await this.#modules.store.notePolicy(policy.name, said);
      }
    }
  }

  /** undefined, and why among the `refused`. */
  async #order(
    policy: Policy,
    repository: Repository,
    tag: string,
    refused: string[],
  ): Promise<string | undefined> {
    const { orders, metrics, logger } = this.#modules;
    const { name, choice, platforms, lifeMs } = policy;
    try {
      const image = { repository, reference: parseReference(parseTag(tag)) };
      const order = await orders.order({ image, choice, platforms, lifeMs, policy: name }, BY);
      metrics.policies.inc({ result: 'ordered' });
      return order.id;
    } catch (err) {
      if (hasCode(err, 'CATALOG_UNAVAILABLE')) throw err;
      const reason = messageOf(err);
      refused.push(`${repository}:${tag}: ${reason}`);
      metrics.policies.inc({ result: 'refused' });
      logger.warn({ policy: name, repository, tag, reason }, 'a policy could not order an image');
      return undefined;
    }
  }

  async #tagsOf(repository: Repository, glob: string) {
    if (!glob.includes('*')) return { tags: [glob], more: false };
    const tags: string[] = [];
    let looked = 0;
    for (let last: string | undefined; looked < SCHEDULED_TAGS_LOOKED_MAX;) {
      const page = { n: 1000, ...(last === undefined ? {} : { last }) };
      // oxlint-disable-next-line no-await-in-loop -- one page after the other
      const found = await this.#modules.images.tags(repository, page);
      if (found === undefined) throw unknown(`there is no repository ${repository}`);
      for (const tag of found) if (fitsGlob(glob, tag)) tags.push(tag);
      last = found.at(-1);
      looked += found.length;
      if (last === undefined || found.length < page.n) break;
    }
    return { tags: tags.slice(0, SCHEDULED_TAGS_MAX), more: tags.length > SCHEDULED_TAGS_MAX };
  }
}

/** @throws JobError CRON_INVALID */
function nextOf(cron: string, afterMs: number): number {
  const next = nextTime(parseCron(cron), afterMs);
  if (next === undefined) throw invalidOrder(`"${cron}" never comes`);
  return next;
}
