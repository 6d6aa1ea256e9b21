import { Type } from 'typebox';
import {
  AccountAnswer,
  AccountChange,
  AccountList,
  NewAccount,
  NodeList,
  OwnPassword,
  PageQuery,
  SessionsEnded,
} from '../../proto/hubapi/admin.ts';
import { JoinTokenRequest, JoinTokenResponse } from '../../proto/hubapi/join-tokens.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { Administration } from '../access/administration.ts';
import type { AccountRow } from '../access/store.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { backupRoutes, type BackupRouteModules } from './backup-routes.ts';
import { bundleRoutes, type BundleRouteModules } from './bundle-routes.ts';
import { ApiError } from './errors.ts';
import { gcRoutes, type GcRouteModules } from './gc-routes.ts';
import { purgeRoutes, type PurgeRouteModules } from './purge-routes.ts';
import { pageOf, timeText } from './page.ts';
import { prefetchRoutes, type PrefetchRouteModules } from './prefetch-routes.ts';
import { projectRoutes } from './project-routes.ts';
import { replicationRoutes, type ReplicationRouteModules } from './replication-routes.ts';
import { route, type ApiRoute } from './route.ts';

export type RouteModules = GcRouteModules &
  BackupRouteModules &
  BundleRouteModules &
  PrefetchRouteModules &
  PurgeRouteModules &
  ReplicationRouteModules & {
    administration: Administration;
    fleet: Pick<Fleet, 'nodes' | 'revokeNode' | 'createJoinToken' | 'rotateTokenKey'>;
    logger: Logger;
  };

/** Every operation of the administration. */
export function apiRoutes(modules: RouteModules): ApiRoute[] {
  return [
    ...accountRoutes(modules),
    ...ownRoutes(modules),
    ...projectRoutes(modules),
    ...fleetRoutes(modules),
    ...gcRoutes(modules),
    ...purgeRoutes(modules),
    ...prefetchRoutes(modules),
    ...backupRoutes(modules),
    ...replicationRoutes(modules),
    ...bundleRoutes(modules),
  ];
}

function accountRoutes({ administration }: RouteModules): ApiRoute[] {
  const [tag, allowed] = ['accounts', 'admin'] as const;
  return [
    route('GET /accounts', {
      tag,
      allowed,
      summary: 'lists the accounts, by name',
      query: PageQuery,
      answer: AccountList,
      run: async ({ query }) => ({
        accounts: (await administration.accounts(pageOf(query))).map(accountAnswer),
      }),
    }),
    route('POST /accounts', {
      tag,
      allowed,
      summary: 'makes an account',
      status: 201,
      body: NewAccount,
      answer: AccountAnswer,
      run: async ({ body }) => {
        await administration.createAccount(body.name, body.password);
        return accountAnswer(await administration.account(body.name));
      },
    }),
    route('GET /accounts/:account', {
      tag,
      allowed,
      summary: 'one account',
      answer: AccountAnswer,
      run: async ({ params }) =>
        accountAnswer(await administration.account(params['account'] ?? '')),
    }),
    route('PATCH /accounts/:account', {
      tag,
      allowed,
      summary: 'changes the password or disables; ends what was issued',
      body: AccountChange,
      answer: AccountAnswer,
      run: async ({ params: { account = '' }, body }) => {
        await administration.changeAccount(account, body);
        return accountAnswer(await administration.account(account));
      },
    }),
    route('DELETE /accounts/:account', {
      tag,
      allowed,
      summary: 'deletes an account with its memberships',
      run: async ({ params }) => await administration.deleteAccount(params['account'] ?? ''),
    }),
    route('DELETE /accounts/:account/sessions', {
      tag,
      allowed,
      summary: 'ends the refresh tokens of an account',
      answer: SessionsEnded,
      run: async ({ params }) => ({
        ended: await administration.endSessions(params['account'] ?? ''),
      }),
    }),
  ];
}

/** What an account does with itself. */
function ownRoutes({ administration }: RouteModules): ApiRoute[] {
  const tag = 'accounts';
  return [
    route('PUT /account/password', {
      tag,
      allowed: 'account',
      summary: 'changes the own password',
      body: OwnPassword,
      run: async ({ identity: { subject }, body }) => {
        if (subject.kind === 'account') {
          return await administration.changeAccount(subject.name, body);
        }
        throw new ApiError('FORBIDDEN', 'the password of the admin is in the configuration');
      },
    }),
  ];
}

function fleetRoutes({ fleet, logger }: RouteModules): ApiRoute[] {
  const [tag, allowed] = ['fleet', 'admin'] as const;
  return [
    route('GET /nodes', {
      tag,
      allowed,
      summary: 'lists the nodes that are members',
      answer: NodeList,
      run: async () => ({
        nodes: fleet.nodes().map((one) => ({
          node: one.node,
          zone: one.zone,
          peerId: one.peerId,
          addresses: one.addresses,
          version: one.build,
          serial: one.serial,
          notAfter: timeText(one.notAfterMs),
        })),
      }),
    }),
    route('DELETE /nodes/:node', {
      tag,
      allowed,
      summary: 'ends the membership of a node',
      run: async ({ params: { node = '' } }) => {
        if (await fleet.revokeNode(node)) return undefined;
        throw new ApiError('NOT_FOUND', `no member ${node}`);
      },
    }),
    route('POST /join-tokens', {
      tag,
      allowed,
      summary: 'makes a token with which agents enrol',
      status: 201,
      body: JoinTokenRequest,
      answer: JoinTokenResponse,
      run: async ({ body }) => {
        const token = await fleet.createJoinToken(body);
        logger.info({ ...body }, 'join token made');
        return { token };
      },
    }),
    route('POST /keys/token/rotate', {
      tag,
      allowed,
      summary: 'signs tokens with a new key; old tokens go on to their end',
      answer: Type.Object({ rotated: Type.Boolean() }),
      run: async () => {
        await fleet.rotateTokenKey();
        logger.info({}, 'key for tokens replaced');
        return { rotated: true };
      },
    }),
  ];
}

/** Never the hash of the password. */
function accountAnswer({ name, disabled, createdAtMs }: AccountRow): object {
  return { name, disabled, created: timeText(createdAtMs) };
}
