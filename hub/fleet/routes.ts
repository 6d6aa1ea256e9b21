import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { BlockList } from 'node:net';
import type { Static, TSchema } from 'typebox';
import { parseBody } from '../../proto/hubapi/body.ts';
import {
  ANNOUNCE_MAX_BYTES,
  FLEET_PATHS,
  SMALL_REQUEST_MAX_BYTES,
} from '../../proto/hubapi/constants.ts';
import {
  AnnounceRequest,
  EnrolRequest,
  GrantRequest,
  RenewRequest,
  TagRequest,
  type AnnounceResponse,
  type EnrolResponse,
  type FleetErrorBody,
  type GrantResponse,
  type KeysResponse,
  type RenewResponse,
  type TagResponse,
  type UpstreamName,
} from '../../proto/hubapi/schemas.ts';
import { PrefetchRequest, type PrefetchResponse } from '../../proto/hubapi/prefetch.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { Seldom } from '../../proto/std/seldom.ts';
import { BodyRoom, bytesOf, failureOf, readBytes } from '../http/byte-bodies.ts';
import { clientAddress } from './address-policy.ts';
import type { Announcements } from './announcements.ts';
import type { CallerRequest, Callers } from './callers.ts';
import {
  ANNOUNCE_BODIES_MAX_BYTES,
  ANNOUNCE_IDLE_MS,
  REFUSED_ENROLMENT_LOG_MS,
  RENEW_GRACE_MS,
} from './constants.ts';
import { FleetError } from './errors.ts';
import type { Grants } from './grants.ts';
import type { Members } from './members.ts';
import type { FleetMetrics } from './metrics.ts';
import type { PrefetchDesk } from './prefetch-desk.ts';
import type { PurgeNews } from './purge-news.ts';
import type { TagStatements } from './tag-statements.ts';

export type RouteOptions = {
  fleetId: string;
  hubNames: readonly string[];
  /** Registries whose content this hub has under their own names. */
  upstreams: readonly UpstreamName[];
  trustedProxies: BlockList;
  now: () => number;
};

export type RouteModules = {
  members: Members;
  callers: Callers;
  grants: Grants;
  tags: TagStatements;
  announcements: Announcements;
  /** What agents are to remove. */
  purges: PurgeNews;
  prefetch: () => PrefetchDesk | undefined;
  /** The key bundle in force. */
  keyBundle: () => Buffer;
  metrics: Pick<FleetMetrics, 'requests'>;
  logger: Logger;
};

type Call = keyof typeof FLEET_PATHS;
type Answer = object | Buffer;

function asFleetError(err: unknown): FleetError {
  if (err instanceof FleetError) return err;
  if (hasCode(err, 'CATALOG_UNAVAILABLE')) {
    return new FleetError('BUSY', 'the catalog of the hub does not answer now', { cause: err });
  }
  const { code, message } = failureOf(err);
  return new FleetError(code, message, { cause: err });
}

/** The HTTP edge of the fleet API. */
export class FleetRoutes {
  readonly #options: RouteOptions;
  readonly #modules: RouteModules;
  readonly #refusedEnrolments: Seldom;
  readonly #bodies = new BodyRoom({ maxBytes: ANNOUNCE_BODIES_MAX_BYTES });

  constructor(options: RouteOptions, modules: RouteModules) {
    this.#options = options;
    this.#modules = modules;
    this.#refusedEnrolments = new Seldom({ everyMs: REFUSED_ENROLMENT_LOG_MS, now: options.now });
  }

  /** Adds the routes. They read bodies as bytes, in a scope of their own. */
  register(app: FastifyInstance): void {
    app.register(async (scope) => {
      readBytes(scope);
      scope.setErrorHandler((err, request, reply) => this.#refuse(callOf(request), err, reply));
      this.#add(scope, 'GET', 'keys', () => this.#keys());
      this.#add(scope, 'GET', 'members', (request) => this.#memberList(request));
      this.#add(scope, 'POST', 'enrol', (request) => this.#enrol(request));
      this.#add(scope, 'POST', 'renew', (request) => this.#renew(request));
      this.#add(scope, 'POST', 'grants', (request) => this.#grant(request));
      this.#add(scope, 'POST', 'tags', (request) => this.#tag(request));
      this.#add(scope, 'POST', 'announce', (request) => this.#announce(request));
      this.#add(scope, 'POST', 'prefetch', (request) => this.#prefetch(request));
    });
  }

  #add(
    scope: FastifyInstance,
    method: 'GET' | 'POST',
    call: Call,
    handle: (request: FastifyRequest) => Answer | Promise<Answer>,
  ): void {
    const bodyLimit = call === 'announce' ? ANNOUNCE_MAX_BYTES : SMALL_REQUEST_MAX_BYTES;
    scope.route({
      method,
      url: FLEET_PATHS[call],
      bodyLimit,
      ...(call === 'announce' ? { onRequest: this.#admitAnnouncement } : {}),
      handler: async (request, reply) => {
        const answer = await handle(request);
        this.#modules.metrics.requests.inc({ call, code: 'ok' });
        return reply.type('application/json').header('cache-control', 'no-store').send(answer);
      },
    });
  }

  /** Large bodies are for members, and for so many at a time: strangers cost no memory. */
  readonly #admitAnnouncement = async (
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> => {
    await this.#modules.callers.expect(request.headers.authorization);
    try {
      await this.#bodies.take(request, reply, ANNOUNCE_MAX_BYTES);
    } catch (cause) {
      throw new FleetError('BUSY', 'too many announcements at once; try again', { cause });
    }
  };

  #refuse(call: string, err: unknown, reply: FastifyReply): FastifyReply {
    const gone = reply.request.raw.destroyed && !reply.request.raw.complete;
    const refusal = gone ? new FleetError('ABORTED', 'the agent went away') : asFleetError(err);
    const { code, status, message } = refusal;
    this.#modules.metrics.requests.inc({ call, code });
    if (status >= 500) this.#modules.logger.warn({ call, code, err }, 'fleet call failed');
    else this.#modules.logger.debug({ call, code, reason: message }, 'fleet call refused');
    const body: FleetErrorBody = { error: { code, message } };
    return reply.code(status).type('application/json').send(body);
  }

  #keys(): KeysResponse {
    return { keyBundle: this.#modules.keyBundle().toString('base64') };
  }

  async #memberList(request: FastifyRequest): Promise<Answer> {
    const { callers, members, purges } = this.#modules;
    const { record } = await callers.member(signedPartOf(request));
    const query = new URL(request.raw.url ?? '', 'http://hub').searchParams;
    const known = query.get('version');
    // It heard of that from another hub.
    if (Number(known) > members.table.version) await members.look?.();
    const news = purges.newsFor(record.peerId, query.get('purged') ?? undefined);
    const hasWork = (await this.#modules.prefetch()?.hasWork(record.node)) ?? false;
    const answer = this.#memberNews(known, query);
    const more = { ...(hasWork && { prefetch: true }), ...(news && { purged: news }) };
    if (!Buffer.isBuffer(answer)) return { ...answer, upstreams: this.#options.upstreams, ...more };
    // It may have all members in it: others are sent the same bytes, and nobody reads them again.
    const tail = JSON.stringify(more).slice(1);
    if (tail === '}') return answer;
    return Buffer.concat([answer.subarray(0, -1), Buffer.from(`,${tail}`)]);
  }

  #memberNews(known: string | null, query: URLSearchParams): Answer {
    const { table } = this.#modules.members;
    if (known === String(table.version)) return { version: table.version };
    const nowMs = this.#options.now();
    const delta = query.has('delta') ? table.delta(nowMs, Number(known)) : undefined;
    return delta ?? table.snapshot(nowMs, ANNOUNCE_IDLE_MS);
  }

  async #enrol(request: FastifyRequest): Promise<EnrolResponse> {
    const { members, callers, keyBundle, logger } = this.#modules;
    const { peerId, timeMs } = callers.signer(signedPartOf(request));
    const body = bodyOf(EnrolRequest, request);
    if (body.peerId !== peerId) {
      throw new FleetError('BAD_SIGNATURE', 'the request is signed by another key than it names');
    }
    callers.inOrder('enrol', peerId, timeMs);
    const remote = this.#remoteOf(request);
    try {
      const { text, node, zone } = await members.enrol(body, { remote, timeMs });
      callers.passed('enrol', peerId, timeMs);
      if (body.zone !== undefined && body.zone !== zone) {
        logger.debug({ node, zone, said: body.zone }, 'the agent names another zone than the hub');
      }
      return {
        fleetId: this.#options.fleetId,
        keyBundle: keyBundle().toString('base64'),
        membership: text,
        hubNames: [...this.#options.hubNames],
        membersVersion: members.table.version,
        upstreams: [...this.#options.upstreams],
      };
    } catch (err) {
      this.#tellRefused({ node: body.node, remote, reason: messageOf(err) });
      throw err;
    }
  }

  /** Anybody can have an enrolment refused: one line in a while, with the last one. */
  #tellRefused(last: { node: string; remote: string | undefined; reason: string }): void {
    const refused = this.#refusedEnrolments.add();
    const { logger } = this.#modules;
    if (refused === undefined) logger.debug(last, 'enrolment refused');
    else logger.warn({ ...last, refused }, 'enrolment refused');
  }

  async #renew(request: FastifyRequest): Promise<RenewResponse> {
    const { members, callers, keyBundle } = this.#modules;
    const signed = signedPartOf(request);
    const { record, timeMs } = await callers.member(signed, { graceMs: RENEW_GRACE_MS });
    const body = bodyOf(RenewRequest, request);
    callers.inOrder('renew', record.peerId, timeMs);
    callers.passed('renew', record.peerId, timeMs);
    const remote = this.#remoteOf(request);
    const { text } = await members.renew(record.peerId, body, { remote, timeMs });
    return { membership: text, keyBundle: keyBundle().toString('base64') };
  }

  async #grant(request: FastifyRequest): Promise<GrantResponse> {
    const { record } = await this.#modules.callers.member(signedPartOf(request));
    const wish = bodyOf(GrantRequest, request);
    const { namespace, repository, digest, authorization } = wish;
    const { peerId } = record;
    const asker = { peerId, address: this.#remoteOf(request) ?? '', authorization };
    const { grants } = this.#modules;
    const bundle = await grants.request(namespace, repository, parseDigest(digest), asker);
    if (bundle === undefined) {
      throw new FleetError(
        'NOT_FOUND',
        `nothing to grant for ${namespace}/${repository}@${digest}`,
      );
    }
    const { grant, digests, token } = bundle;
    const lent = token === undefined ? {} : { token };
    return { grant: grant.toString('base64'), digests, ...lent };
  }

  async #tag(request: FastifyRequest): Promise<TagResponse> {
    await this.#modules.callers.member(signedPartOf(request));
    const name = bodyOf(TagRequest, request);
    const statement = await this.#modules.tags.statementFor(name);
    if (statement === undefined) {
      const { namespace, repository, tag } = name;
      throw new FleetError('NOT_FOUND', `nothing to state of ${namespace}/${repository}:${tag}`);
    }
    return { statement: statement.toString('base64') };
  }

  async #announce(request: FastifyRequest): Promise<AnnounceResponse> {
    const { callers, announcements } = this.#modules;
    const { record, timeMs } = await callers.member(signedPartOf(request));
    const body = bodyOf(AnnounceRequest, request);
    callers.inOrder('announce', record.peerId, timeMs);
    callers.passed('announce', record.peerId, timeMs);
    return await announcements.answer(record, body);
  }

  async #prefetch(request: FastifyRequest): Promise<PrefetchResponse> {
    const { callers, prefetch } = this.#modules;
    const { record, timeMs } = await callers.member(signedPartOf(request));
    const body = bodyOf(PrefetchRequest, request);
    callers.inOrder('prefetch', record.peerId, timeMs);
    callers.passed('prefetch', record.peerId, timeMs);
    const desk = prefetch();
    if (desk === undefined) throw new FleetError('NOT_FOUND', 'this hub orders nothing of nodes');
    return await desk.answer(record, body);
  }

  #remoteOf(request: FastifyRequest): string | undefined {
    const forwarded = request.headers['x-forwarded-for'];
    const chain = Array.isArray(forwarded) ? forwarded.join() : forwarded;
    return clientAddress(request.socket.remoteAddress, chain, this.#options.trustedProxies);
  }
}

function callOf(request: FastifyRequest): string {
  const url = request.routeOptions.url ?? '';
  return Object.entries(FLEET_PATHS).find(([, path]) => path === url)?.[0] ?? 'unknown';
}

function bodyOf<S extends TSchema>(schema: S, request: FastifyRequest): Static<S> {
  return parseBody(schema, bytesOf(request));
}

function signedPartOf(request: FastifyRequest): CallerRequest {
  return {
    method: request.method,
    path: request.raw.url ?? '',
    body: bytesOf(request),
    authorization: request.headers.authorization,
  };
}
