import {
  PrefetchPolicy,
  PrefetchPolicyAnswer,
  PrefetchPolicyList,
  PrefetchPolicyRun,
} from '../../proto/hubapi/prefetch.ts';
import { ORDER_LIFE_MS } from '../prefetch/constants.ts';
import type { Prefetch } from '../prefetch/start.ts';
import type { Policy, PolicySpec } from '../prefetch/store.ts';
import { ApiError } from './errors.ts';
import { timeText } from './page.ts';
import { route, type ApiRoute } from './route.ts';

/** Rules by which images are ordered of nodes. */
export function prefetchPolicyRoutes(modules: {
  prefetch: Pick<Prefetch, 'policies'>;
}): ApiRoute[] {
  const [tag, allowed] = ['prefetch', 'admin'] as const;
  return [
    route('GET /prefetch-policies', {
      tag,
      allowed,
      summary: 'lists the policies of prefetch, by name',
      answer: PrefetchPolicyList,
      run: async () => ({ policies: (await modules.prefetch.policies.list()).map(answerOf) }),
    }),
    route('GET /prefetch-policies/:policy', {
      tag,
      allowed,
      summary: 'one policy of prefetch',
      answer: PrefetchPolicyAnswer,
      run: async ({ params: { policy = '' } }) =>
        answerOf(await modules.prefetch.policies.find(policy)),
    }),
    route('PUT /prefetch-policies/:policy', {
      tag,
      allowed,
      summary: 'makes a policy of prefetch or changes it: on push, or at times',
      body: PrefetchPolicy,
      answer: PrefetchPolicyAnswer,
      run: async ({ params: { policy = '' }, body }) =>
        answerOf(await modules.prefetch.policies.put(policy, specOf(body))),
    }),
    route('DELETE /prefetch-policies/:policy', {
      tag,
      allowed,
      summary: 'deletes a policy of prefetch; what it ordered goes on',
      run: async ({ params: { policy = '' } }) => modules.prefetch.policies.delete(policy),
    }),
    route('POST /prefetch-policies/:policy/runs', {
      tag,
      allowed,
      summary: 'orders what a policy with one repository names now',
      status: 201,
      answer: PrefetchPolicyRun,
      run: async ({ params: { policy = '' } }) => ({
        ordered: await modules.prefetch.policies.run(await modules.prefetch.policies.find(policy)),
      }),
    }),
  ];
}

function specOf(body: PrefetchPolicy): PolicySpec {
  const { repository, tag, onPush = false, cron, nodes = '', percent, copies } = body;
  if (onPush === (cron !== undefined)) {
    throw new ApiError('INVALID_BODY', 'a policy has either onPush or cron');
  }
  return {
    repository,
    tag,
    on: cron === undefined ? 'push' : { cron },
    choice: {
      nodes,
      ...(percent === undefined ? {} : { percent }),
      ...(copies === undefined ? {} : { copies }),
    },
    platforms: body.platforms ?? [],
    lifeMs: body.expiresInMs ?? ORDER_LIFE_MS,
    enabled: body.enabled ?? true,
  };
}

function answerOf(policy: Policy): PrefetchPolicyAnswer {
  const { name, repository, tag, on, choice, platforms, lifeMs, enabled, nextAtMs, note } = policy;
  const { nodes, percent = null, copies = null } = choice;
  return {
    name,
    repository,
    tag,
    onPush: on === 'push',
    cron: on === 'push' ? null : on.cron,
    nodes,
    percent,
    copies,
    platforms: [...platforms],
    expiresInMs: lifeMs,
    enabled,
    next: nextAtMs === undefined ? null : timeText(nextAtMs),
    note,
  };
}
