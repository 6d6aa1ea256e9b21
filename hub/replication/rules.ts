import type { RuleSettings } from '../../proto/hubapi/replication.ts';
import type { JobStore, NewJob } from '../jobs/store.ts';
import { EXECUTION_ATTEMPTS, PUSH_ATTEMPTS, RULES_KNOWN_MS, RULES_MAX } from './constants.ts';
import { invalidRule, ReplicationError } from './errors.ts';
import { parseRule, type Rule, type StoredRule } from './rule.ts';
import type { ReplicationStore } from './store.ts';

/** Jobs of this kind are executions of rules. */
export const REPLICATION = 'replication';

/** What an execution is to do, as its job says. */
export type ExecutionWish = {
  rule: string;
  trigger: 'manual' | 'schedule' | 'push';
  /** Of what was pushed; without it all that the rule chooses is looked at. */
  scope?: { repository: string; reference: string; onlyIfThere: boolean };
};

type Modules = {
  store: ReplicationStore;
  schedules: Pick<JobStore, 'setSchedule' | 'dropSchedule' | 'schedules'>;
  now?: () => number;
};

/** The rules of replication, and their schedules. */
export class Rules {
  readonly #registries: ReadonlySet<string>;
  readonly #modules: Modules;
  #onPush: { rules: readonly Rule[]; knownMs: number } | undefined;

  /** `registries`: names of those in the configuration. */
  constructor(options: { registries: readonly string[] }, modules: Modules) {
    this.#registries = new Set(options.registries);
    this.#modules = modules;
  }

  list(): Promise<StoredRule[]> {
    return this.#modules.store.rules();
  }

  /** @throws ReplicationError UNKNOWN */
  async get(name: string): Promise<StoredRule> {
    const found = await this.#modules.store.rule(name);
    if (found !== undefined) return found;
    throw unknownRule(name);
  }

  /** When the schedules of rules come next, by rule. */
  async nextTimes(): Promise<ReadonlyMap<string, number>> {
    const schedules = await this.#modules.schedules.schedules();
    return new Map(schedules.map(({ name, nextMs }) => [name, nextMs]));
  }

  /** @throws ReplicationError INVALID, EXISTS, FULL; JobError CRON_INVALID */
  async add(rule: { name: string; enabled: boolean; settings: RuleSettings }): Promise<void> {
    const parsed = this.#checked(rule.name, rule.settings);
    const stored = { ...rule, changedMs: this.#now() };
    const verdict = await this.#modules.store.addRule(stored, { max: RULES_MAX });
    if (verdict === 'exists') {
      throw new ReplicationError(`there is a rule ${rule.name}`, { code: 'EXISTS' });
    }
    if (verdict === 'full') {
      throw new ReplicationError(`there are ${RULES_MAX} rules already`, { code: 'FULL' });
    }
    await this.#follow(parsed, rule.enabled);
  }

  /** @throws ReplicationError UNKNOWN, INVALID; JobError CRON_INVALID */
  async change(
    name: string,
    change: { enabled?: boolean | undefined; settings?: RuleSettings | undefined },
  ): Promise<void> {
    const before = await this.get(name);
    const { enabled = before.enabled, settings = before.settings } = change;
    const parsed = this.#checked(name, settings);
    const changedMs = this.#now();
    const known = await this.#modules.store.changeRule({ name, enabled, settings, changedMs });
    if (!known) throw unknownRule(name);
    await this.#follow(parsed, enabled);
  }

  /** @throws ReplicationError UNKNOWN */
  async drop(name: string): Promise<void> {
    await this.#modules.schedules.dropSchedule(scheduleName(name));
    this.#onPush = undefined;
    if (!(await this.#modules.store.dropRule(name))) throw unknownRule(name);
  }

  /** Rules that want to hear of pushes, as they were a few seconds ago at most. */
  async onPush(): Promise<readonly Rule[]> {
    const nowMs = this.#now();
    if (this.#onPush !== undefined && nowMs - this.#onPush.knownMs < RULES_KNOWN_MS) {
      return this.#onPush.rules;
    }
    const rules = (await this.#modules.store.rules())
      .filter(({ enabled, settings }) => enabled && settings.onPush === true)
      .flatMap(({ name, settings }) => understood(name, settings));
    this.#onPush = { rules, knownMs: nowMs };
    return rules;
  }

  async #follow(rule: Rule, enabled: boolean): Promise<void> {
    this.#onPush = undefined;
    const { schedules } = this.#modules;
    const name = scheduleName(rule.name);
    if (!enabled || rule.schedule === undefined) return schedules.dropSchedule(name);
    const job = executionJob({ rule: rule.name, trigger: 'schedule' });
    await schedules.setSchedule({ name, cron: rule.schedule, job });
  }

  #checked(name: string, settings: RuleSettings): Rule {
    const rule = parseRule(name, settings);
    if (this.#registries.has(rule.registry)) return rule;
    throw invalidRule(
      `no registry "${rule.registry}" in replication.registries of the configuration`,
    );
  }

  #now(): number {
    return (this.#modules.now ?? Date.now)();
  }
}

/** None for a rule that this program does not understand: it keeps off no push. */
function understood(name: string, settings: RuleSettings): Rule[] {
  try {
    return [parseRule(name, settings)];
  } catch {
    return [];
  }
}

/** One run of a rule at a time; what was pushed to a repository goes beside it. */
export function executionJob(wish: ExecutionWish): NewJob {
  const { rule, trigger, scope } = wish;
  const lane = [REPLICATION, rule, ...(scope ? [scope.repository] : [])].join('/');
  const key = [lane, trigger, ...(scope ? [scope.reference] : [])].join(' ');
  const payload = JSON.stringify(wish);
  const attemptsMax = trigger === 'push' ? PUSH_ATTEMPTS : EXECUTION_ATTEMPTS;
  return { kind: REPLICATION, subject: rule, lane, key, payload, attemptsMax };
}

/** The schedule of a rule, as the jobs name it. */
export function scheduleName(rule: string): string {
  return `${REPLICATION}/${rule}`;
}

function unknownRule(name: string): ReplicationError {
  return new ReplicationError(`no rule ${name}`, { code: 'UNKNOWN' });
}
