import type { ReplicationCounts } from '../../proto/hubapi/replication.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { parseReference, parseRepository, type Repository } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { JobError } from '../jobs/errors.ts';
import type { Job, NewJob } from '../jobs/store.ts';
import type { JobTask, JobWorkers } from '../jobs/workers.ts';
import { subjectOfTag } from './companions.ts';
import { MOUNT_SOURCES_MAX } from './constants.ts';
import { ReplicationError } from './errors.ts';
import { Execution, NO_COUNTS, type Scope } from './execution.ts';
import { LocalSource } from './local-source.ts';
import { LocalTarget, type LocalTargetModules } from './local-target.ts';
import type { ReplicationMetrics } from './metrics.ts';
import type { RegistryConfig } from './options.ts';
import { openRemote, type RemoteRegistry } from './remote-registry.ts';
import { RemoteSource } from './remote-source.ts';
import { RemoteTarget } from './remote-target.ts';
import { nameOf, parseRule, type Rule } from './rule.ts';
import { executionJob, type ExecutionWish, type Rules } from './rules.ts';
import { SeenBlobs } from './seen-blobs.ts';
import type { ReplicationStore } from './store.ts';
import { Turns } from './turns.ts';

type Modules = Omit<LocalTargetModules, 'pushed' | 'transfers' | 'blobs'> & {
  blobs: LocalTargetModules['blobs'] & ConstructorParameters<typeof LocalSource>[0]['blobs'];
  store: ReplicationStore;
  rules: Rules;
  workers: Pick<JobWorkers, 'add' | 'stop'>;
  /** Told of what was copied to this hub. */
  arrived: (push: Push) => void;
  metrics: ReplicationMetrics;
  logger: Logger;
  userAgent: string;
  env: Readonly<Record<string, string | undefined>>;
};

/** What was pushed. */
export type Push = {
  repository: Repository;
  digest: Digest;
  tags: readonly string[];
  subject?: Digest | undefined;
};

/** Carries out rules of replication. */
export class Replication {
  readonly #registries: ReadonlyMap<string, RegistryConfig>;
  readonly #modules: Modules;
  readonly #turns = new Turns();
  /** By registry. */
  readonly #seen = new Map<string, SeenBlobs>();
  /** By rule; what several of its executions take together. */
  readonly #budgets = new Map<string, RateBudget>();

  constructor(options: { registries: readonly RegistryConfig[] }, modules: Modules) {
    this.#registries = new Map(options.registries.map((one) => [one.name, one]));
    this.#modules = modules;
  }

  get registries(): { name: string; url: string }[] {
    return [...this.#registries.values()].map(({ name, url }) => ({ name, url }));
  }

  /**
   * Begins to copy all that a rule chooses, also of one that is switched off; its id.
   * @throws ReplicationError UNKNOWN; JobError QUEUE_FULL
   */
  async start(rule: string): Promise<string> {
    await this.#modules.rules.get(rule);
    return (await this.#modules.workers.add(executionJob({ rule, trigger: 'manual' }))).id;
  }

  /**
   * Makes the jobs of rules that follow pushes; with no room for more they are left to the next
   * full run. @throws errors of the catalog
   */
  async pushed({ repository, digest, tags, subject }: Push): Promise<void> {
    for (const rule of await this.#modules.rules.onPush()) {
      if (!rule.choosesRepository(repository)) continue;
      const chosen = tags.filter((tag) => rule.choosesTag(tag) && !subjectOfTag(tag));
      const wishes = chosen.map((reference) => ({ reference, onlyIfThere: false }));
      const about = subject ?? tags.map(subjectOfTag).find((one) => one !== undefined);
      if (rule.referrers && about !== undefined && about !== digest) {
        wishes.push({ reference: about, onlyIfThere: true });
      }
      for (const wish of wishes) {
        const scope = { repository, ...wish };
        // oxlint-disable-next-line no-await-in-loop -- one row after the other
        await this.#follow(executionJob({ rule: rule.name, trigger: 'push', scope }));
      }
    }
  }

  async #follow(job: NewJob): Promise<void> {
    try {
      await this.#modules.workers.add(job);
    } catch (err) {
      if (!hasCode(err, 'QUEUE_FULL')) throw err;
      this.#modules.metrics.missed.inc();
      this.#modules.logger.warn({ rule: job.subject }, 'a push is not followed: too many jobs');
    }
  }

  /** Does one job of the kind `replication`. @throws whatever keeps it from its end */
  async run({ job, signal, note }: JobTask): Promise<string> {
    const wish = wishOf(job);
    const stored = await this.#modules.store.rule(wish.rule);
    if (stored === undefined) throw hopeless(`the rule ${wish.rule} is gone`);
    if (!stored.enabled && wish.trigger !== 'manual') return 'the rule is switched off';
    const rule = parseRule(stored.name, stored.settings);
    const config = this.#registries.get(rule.registry);
    if (config === undefined) {
      throw hopeless(`no registry "${rule.registry}" in replication.registries here any more`);
    }
    await using remote = await openRemote(config, this.#modules);
    const { store, metrics } = this.#modules;
    const execution = new Execution(
      { rule, id: job.id, scope: scopeOf(wish), counts: countsOf(job) },
      {
        ...this.#sides(rule, config, remote),
        turns: this.#turns,
        budget: this.#budgetOf(rule),
        onBytes: (count) => metrics.bytes.inc({ direction: rule.direction }, count),
        store,
        metrics,
        note,
      },
      { signal },
    );
    const said = await execution.run();
    metrics.lastDone.set({ direction: rule.direction }, Date.now() / 1000);
    return said;
  }

  /** @throws ReplicationError UNKNOWN */
  async stop(id: string): Promise<'stopped' | 'stopping' | 'ended'> {
    const verdict = await this.#modules.workers.stop(id);
    if (verdict !== undefined) return verdict;
    throw new ReplicationError(`no execution ${id}`, { code: 'UNKNOWN' });
  }

  #sides(rule: Rule, config: RegistryConfig, remote: RemoteRegistry) {
    const { catalog, store } = this.#modules;
    const { name, chunkSize: chunkBytes } = config;
    const seen = this.#seenAt(name);
    if (rule.direction === 'pull') {
      const pushed = (push: Push): Promise<void> => {
        this.#modules.arrived(push);
        return this.pushed(push);
      };
      const target = new LocalTarget({ seen }, { ...this.#modules, transfers: store, pushed });
      return { source: new RemoteSource({ name }, remote), target };
    }
    const mayHave = async (digest: Digest): Promise<Repository[]> => {
      const own = await catalog.repositoriesWith(digest, MOUNT_SOURCES_MAX);
      return own
        .filter(rule.choosesRepository)
        .flatMap((one) => nameOf(rule, parseRepository(one)) ?? []);
    };
    const target = new RemoteTarget(
      { name, chunkBytes, seen, mayHave },
      { ...remote, transfers: store },
    );
    return { source: new LocalSource(this.#modules), target };
  }

  #seenAt(registry: string): SeenBlobs {
    const known = this.#seen.get(registry) ?? new SeenBlobs();
    this.#seen.set(registry, known);
    return known;
  }

  #budgetOf({ name, bytesPerSecond }: Rule): RateBudget | undefined {
    if (bytesPerSecond === undefined) {
      this.#budgets.delete(name);
      return undefined;
    }
    const known = this.#budgets.get(name) ?? new RateBudget({ bytesPerSecond });
    known.bytesPerSecond = bytesPerSecond;
    this.#budgets.set(name, known);
    return known;
  }
}

/** How far an execution said it is. */
export function countsOf({ progress }: Pick<Job, 'progress'>): ReplicationCounts {
  if (progress === '') return NO_COUNTS;
  const told: Partial<ReplicationCounts> = JSON.parse(progress);
  return { ...NO_COUNTS, ...told };
}

/** What the job of an execution is to do. */
export function wishOf({ payload }: Pick<Job, 'payload'>): ExecutionWish {
  return JSON.parse(payload);
}

function scopeOf({ scope }: ExecutionWish): Scope | undefined {
  if (scope === undefined) return undefined;
  const { repository, reference, onlyIfThere } = scope;
  return {
    repository: parseRepository(repository),
    reference: parseReference(reference),
    onlyIfThere,
  };
}

function hopeless(message: string): JobError {
  return new JobError(message, { code: 'JOB_HOPELESS' });
}
