import {
  ArtifactList,
  ArtifactQuery,
  ExecutionAnswer,
  ExecutionList,
  ExecutionQuery,
  ExecutionStarted,
  ExecutionStopped,
  NewRule,
  RegistryList,
  RuleAnswer,
  RuleChange,
  RuleList,
} from '../../proto/hubapi/replication.ts';
import type { Job } from '../jobs/store.ts';
import type { Jobs } from '../jobs/start.ts';
import { countsOf, wishOf } from '../replication/replication.ts';
import { REPLICATION, scheduleName } from '../replication/rules.ts';
import type { ReplicationDesk } from '../replication/start.ts';
import type { StoredRule } from '../replication/rule.ts';
import type { ArtifactResult } from '../replication/store.ts';
import { ApiError } from './errors.ts';
import { pageOf, timeText } from './page.ts';
import { route, type ApiRoute } from './route.ts';

export type ReplicationRouteModules = {
  replication: ReplicationDesk;
  jobs: { store: Pick<Jobs['store'], 'job' | 'jobs'> };
};

const [tag, allowed] = ['replication', 'admin'] as const;

/** Copying to and from other registries: rules, and what became of them. */
export function replicationRoutes(modules: ReplicationRouteModules): ApiRoute[] {
  return [...ruleRoutes(modules), ...executionRoutes(modules)];
}

function ruleRoutes({ replication: desk }: ReplicationRouteModules): ApiRoute[] {
  const answerFor = async (name: string): Promise<RuleAnswer> =>
    ruleAnswer(await desk.rules.get(name), await desk.rules.nextTimes());
  return [
    route('GET /replication/registries', {
      tag,
      allowed,
      summary: 'lists the registries of the configuration',
      answer: RegistryList,
      run: async () => ({ registries: desk.replication.registries }),
    }),
    route('GET /replication/rules', {
      tag,
      allowed,
      summary: 'lists the rules, by name',
      answer: RuleList,
      run: async () => {
        const times = await desk.rules.nextTimes();
        return { rules: (await desk.rules.list()).map((rule) => ruleAnswer(rule, times)) };
      },
    }),
    route('POST /replication/rules', {
      tag,
      allowed,
      summary: 'makes a rule',
      status: 201,
      body: NewRule,
      answer: RuleAnswer,
      run: async ({ body: { name, enabled = true, settings } }) => {
        await desk.rules.add({ name, enabled, settings });
        return answerFor(name);
      },
    }),
    route('GET /replication/rules/:rule', {
      tag,
      allowed,
      summary: 'one rule',
      answer: RuleAnswer,
      run: async ({ params: { rule = '' } }) => answerFor(rule),
    }),
    route('PATCH /replication/rules/:rule', {
      tag,
      allowed,
      summary: 'switches a rule on or off, or gives it other settings',
      body: RuleChange,
      answer: RuleAnswer,
      run: async ({ params: { rule = '' }, body }) => {
        await desk.rules.change(rule, body);
        return answerFor(rule);
      },
    }),
    route('DELETE /replication/rules/:rule', {
      tag,
      allowed,
      summary: 'deletes a rule; an execution that runs goes on',
      run: async ({ params: { rule = '' } }) => await desk.rules.drop(rule),
    }),
    route('POST /replication/rules/:rule/executions', {
      tag,
      allowed,
      summary: 'begins to copy all that a rule chooses; the one that waits, if one does',
      status: 202,
      answer: ExecutionStarted,
      run: async ({ params: { rule = '' } }) => ({ id: await desk.replication.start(rule) }),
    }),
  ];
}

function executionRoutes({ replication: desk, jobs }: ReplicationRouteModules): ApiRoute[] {
  const found = async (id = ''): Promise<Job> => {
    const job = await jobs.store.job(id);
    if (job?.kind === REPLICATION) return job;
    throw new ApiError('NOT_FOUND', `no execution ${id}`);
  };
  return [
    route('GET /replication/executions', {
      tag,
      allowed,
      summary: 'lists executions of rules, the newest first',
      query: ExecutionQuery,
      answer: ExecutionList,
      run: async ({ query }) => {
        const { n, last } = pageOf(query);
        const { rule: subject } = query;
        const page = await jobs.store.jobs({ kind: REPLICATION, subject, n, last });
        const executions = page.map(executionAnswer);
        return page.length < n ? { executions } : { executions, next: page.at(-1)?.id };
      },
    }),
    route('GET /replication/executions/:execution', {
      tag,
      allowed,
      summary: 'one execution',
      answer: ExecutionAnswer,
      run: async ({ params }) => executionAnswer(await found(params['execution'])),
    }),
    route('POST /replication/executions/:execution/stop', {
      tag,
      allowed,
      summary: 'stops an execution; what was copied stays',
      answer: ExecutionStopped,
      run: async ({ params }) => {
        const { id } = await found(params['execution']);
        return { state: await desk.replication.stop(id) };
      },
    }),
    route('GET /replication/executions/:execution/artifacts', {
      tag,
      allowed,
      summary: 'lists what became of each artifact, by repository and reference',
      query: ArtifactQuery,
      answer: ArtifactList,
      run: async ({ params, query }) => {
        const { id } = await found(params['execution']);
        const { n, last } = pageOf(query);
        const page = { n, last: lastOf(last), state: query['state'] };
        const results = await desk.store.results(id, page);
        const artifacts = results.map(artifactAnswer);
        const end = results.at(-1);
        if (end === undefined || results.length < n) return { artifacts };
        return { artifacts, next: `${end.repository} ${end.reference}` };
      },
    }),
  ];
}

function ruleAnswer(
  { name, enabled, settings, changedMs }: StoredRule,
  times: ReadonlyMap<string, number>,
): RuleAnswer {
  const next = times.get(scheduleName(name));
  return {
    name,
    enabled,
    settings,
    changed: timeText(changedMs),
    next: next === undefined ? null : timeText(next),
  };
}

function executionAnswer(job: Job): ExecutionAnswer {
  const { rule, trigger } = wishOf(job);
  const { id, state, stopping, attempt, message, madeMs, dueMs, begunMs, endedMs } = job;
  return {
    id,
    rule,
    trigger,
    state,
    stopping,
    attempt,
    message,
    counts: countsOf(job),
    made: timeText(madeMs),
    due: timeText(dueMs),
    begun: begunMs === undefined ? null : timeText(begunMs),
    ended: endedMs === undefined ? null : timeText(endedMs),
  };
}

function artifactAnswer({
  changedMs,
  digest = null,
  ...result
}: Omit<ArtifactResult, 'digest'> & { digest?: string | null | undefined; changedMs: number }) {
  return { ...result, digest, changed: timeText(changedMs) };
}

/** A page ends with `repository reference`. */
function lastOf(text: string | undefined): { repository: string; reference: string } | undefined {
  const [repository = '', reference = ''] = text?.split(' ', 2) ?? [];
  return text === undefined ? undefined : { repository, reference };
}
