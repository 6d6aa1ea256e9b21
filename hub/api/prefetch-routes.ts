import { PageQuery } from '../../proto/hubapi/admin.ts';
import {
  NewPrefetch,
  PrefetchAnswer,
  PrefetchList,
  PrefetchNodeList,
} from '../../proto/hubapi/prefetch.ts';
import type { Identity } from '../access/access.ts';
import { isAtLeast, projectOf } from '../access/project.ts';
import { subjectText, type Rights } from '../access/rights.ts';
import { imageOf } from '../prefetch/images.ts';
import type { Prefetch } from '../prefetch/start.ts';
import type { Choice, Order } from '../prefetch/store.ts';
import { ApiError } from './errors.ts';
import { pageOf, timeText } from './page.ts';
import { prefetchPolicyRoutes } from './prefetch-policy-routes.ts';
import { route, type ApiRoute } from './route.ts';

export type PrefetchRouteModules = {
  prefetch: Pick<Prefetch, 'orders' | 'policies' | 'images'>;
  rights: Pick<Rights, 'roleIn' | 'actions'>;
};

type Modules = PrefetchRouteModules;

/** Having images on nodes before they are asked for. */
export function prefetchRoutes(modules: Modules): ApiRoute[] {
  return [...orderRoutes(modules), ...prefetchPolicyRoutes(modules)];
}

function orderRoutes(modules: Modules): ApiRoute[] {
  const [tag, allowed] = ['prefetch', 'account'] as const;
  return [
    route('GET /prefetches', {
      tag,
      allowed,
      summary: 'lists what was ordered of nodes of late, the newest first; one sees the own alone',
      answer: PrefetchList,
      run: async ({ identity }) => {
        const all = await modules.prefetch.orders.list();
        const own = all.filter((order) => isOwn(order, identity));
        return { prefetches: own.map(fieldsOf) };
      },
    }),
    route('POST /prefetches', {
      tag,
      allowed,
      summary: 'orders that nodes have an image; takes a maintainer of its project',
      status: 201,
      body: NewPrefetch,
      answer: PrefetchAnswer,
      run: async ({ identity, body }) => answerOf(await ordered(body, identity, modules), modules),
    }),
    route('GET /prefetches/:order', {
      tag,
      allowed,
      summary: 'one order, with how many of its nodes stand how',
      answer: PrefetchAnswer,
      run: async ({ identity, params }) =>
        answerOf(await found(params['order'], identity, modules), modules),
    }),
    route('GET /prefetches/:order/nodes', {
      tag,
      allowed,
      summary: 'lists the nodes of an order and how far they are, by name',
      query: PageQuery,
      answer: PrefetchNodeList,
      run: async ({ identity, params, query }) => {
        const order = await found(params['order'], identity, modules);
        const rows = await modules.prefetch.orders.nodes(order, pageOf(query));
        const nodes = rows.map(({ node, state, doneBytes, totalBytes, reason }) => {
          return { node, state, doneBytes, totalBytes, reason };
        });
        return { nodes };
      },
    }),
    route('DELETE /prefetches/:order', {
      tag,
      allowed,
      summary: 'stops an order; what nodes have by then they keep as a cache does',
      run: async ({ identity, params }) => {
        await modules.prefetch.orders.stop(await found(params['order'], identity, modules));
      },
    }),
  ];
}

async function ordered(
  body: NewPrefetch,
  { subject, epoch }: Identity,
  { prefetch, rights }: Modules,
): Promise<Order> {
  const { orders, images } = prefetch;
  const { platforms = [], expiresInMs: lifeMs, reachMs } = body;
  const image = imageOf(body.image, images);
  const { repository } = image;
  if (subject.kind === 'account') {
    const role = await rights.roleIn(projectOf(repository), subject.name);
    if (!isAtLeast(role, 'maintainer')) {
      const mayRead = (await rights.actions(subject, repository)).includes('pull');
      if (!mayRead) throw new ApiError('NOT_FOUND', `there is no such image in ${repository}`);
      throw new ApiError('FORBIDDEN', 'only a maintainer of its project orders an image of nodes');
    }
  }
  const by = { subject: subjectText(subject), epoch };
  return orders.order({ image, choice: choiceOf(body), platforms, lifeMs, reachMs }, by);
}

function choiceOf(body: Pick<NewPrefetch, 'nodes' | 'percent' | 'copies'>): Choice {
  const { nodes = '', percent, copies } = body;
  return {
    nodes,
    ...(percent === undefined ? {} : { percent }),
    ...(copies === undefined ? {} : { copies }),
  };
}

function isOwn(order: Order, { subject }: Identity): boolean {
  return subject.kind === 'admin' || order.subject === subjectText(subject);
}

/** Who may not know of an order cannot tell whether it is there. */
async function found(id = '', identity: Identity, { prefetch }: Modules): Promise<Order> {
  const order = await prefetch.orders.find(id);
  if (isOwn(order, identity)) return order;
  throw new ApiError('NOT_FOUND', `no order ${id}`);
}

function fieldsOf(order: Order) {
  const { id, policy = null, repository, reference, digest, choice, endedAtMs } = order;
  const { percent = null, copies = null } = choice;
  return {
    id,
    policy,
    image: `${repository}${reference.includes(':') ? '@' : ':'}${reference}`,
    digest,
    nodes: choice.nodes,
    percent,
    copies,
    platforms: [...order.platforms],
    orderedBy: order.subject,
    created: timeText(order.createdAtMs),
    expires: timeText(order.expiresAtMs),
    ended: endedAtMs === undefined ? null : timeText(endedAtMs),
    result: order.result ?? null,
  };
}

async function answerOf(order: Order, { prefetch }: Modules): Promise<PrefetchAnswer> {
  const counts = await prefetch.orders.counts(order);
  const { copies } = order.choice;
  const isAtWork = counts.queued + counts.running > 0;
  // With no node away it is through when it has ended.
  const isThrough = copies === undefined ? counts.unreached > 0 && !isAtWork : !isAtWork;
  const isEnough = copies !== undefined && counts.done >= copies;
  const settled = order.result !== undefined || isEnough || isThrough;
  return { ...fieldsOf(order), counts, settled };
}
