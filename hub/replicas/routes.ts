import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseBody } from '../../proto/hubapi/body.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { TrustError } from '../../proto/trust/errors.ts';
import { bodyHashOf, verifyReplicaCall, type ReplicaCall } from '../../proto/trust/replica-call.ts';
import type { FleetTokenKeys } from '../fleet/fleet.ts';
import { BodyRoom, bytesOf, failureOf, readBytes } from '../http/byte-bodies.ts';
import { FORWARD_BODIES_MAX_BYTES, FORWARD_MAX_BYTES } from './constants.ts';
import { ReplicaError } from './errors.ts';
import { ForwardRequest } from './forward-body.ts';
import { FORWARD_PATH } from './forwarder.ts';
import type { ReplicaMetrics } from './metrics.ts';
import type { Ownership } from './ownership.ts';
import type { Receiver } from './receiver.ts';
import { ReplayWindow } from './replay-window.ts';

/** A call that hubs make of each other, beside announcements. */
export type ReplicaRoute = {
  path: string;
  /** Bytes of the largest question. */
  bodyMax: number;
  /** Answers who was found to be another hub. Throws ReplicaError. */
  answer: (body: Buffer, request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;
};

type RouteModules = {
  ownership: Ownership;
  receiver: Pick<Receiver, 'answer'>;
  /** Looks at the replicas anew. */
  refresh: () => Promise<void>;
  keys: Pick<FleetTokenKeys, 'find' | 'look'>;
  metrics: Pick<ReplicaMetrics, 'received'>;
  logger: Logger;
  /** What other rooms answer. */
  others: readonly ReplicaRoute[];
};

/** The HTTP edge between replicas. A stranger is refused before its body is read. */
export class ReplicaRoutes {
  readonly #now: () => number;
  readonly #modules: RouteModules;
  readonly #calls = new WeakMap<FastifyRequest, ReplicaCall>();
  /** Calls for the present run of this hub; those for an earlier one are refused anyhow. */
  #replays = { joined: 0, window: new ReplayWindow() };
  readonly #bodies = new BodyRoom({ maxBytes: FORWARD_BODIES_MAX_BYTES });

  /** `now`: milliseconds since 1970. */
  constructor(options: { now: () => number }, modules: RouteModules) {
    this.#now = options.now;
    this.#modules = modules;
  }

  /** Adds the routes. They read bodies as bytes, in a scope of their own. */
  register(app: FastifyInstance): void {
    app.register(async (scope) => {
      readBytes(scope);
      scope.setErrorHandler((err, request, reply) => this.#refuse(err, request, reply));
      const announce: ReplicaRoute = {
        path: FORWARD_PATH,
        bodyMax: FORWARD_MAX_BYTES,
        answer: async (body, _request, reply) => {
          const answer = await this.#modules.receiver.answer(parseBody(ForwardRequest, body));
          this.#modules.metrics.received.inc({ code: 'ok' });
          return reply.type('application/json').header('cache-control', 'no-store').send(answer);
        },
      };
      for (const { path, bodyMax, answer } of [announce, ...this.#modules.others]) {
        scope.route({
          method: 'POST',
          url: path,
          bodyLimit: bodyMax,
          onRequest: (request, reply) => this.#admit(request, reply),
          handler: async (request, reply) => answer(this.#bodyOf(request), request, reply),
        });
      }
    });
  }

  async #admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const call = await this.#verified(request);
    await this.#expect(call);
    if (!this.#replays.window.take(call))
      throw new ReplicaError('REPLAYED', 'the call came before');
    this.#calls.set(request, call);
    try {
      await this.#bodies.take(request, reply, FORWARD_MAX_BYTES);
    } catch (cause) {
      throw new ReplicaError('BUSY', 'too many calls of other hubs at once', { cause });
    }
  }

  async #verified(request: FastifyRequest): Promise<ReplicaCall> {
    const { keys } = this.#modules;
    try {
      return this.#verify(request);
    } catch (err) {
      // Another hub may have changed the keys just now.
      if (!hasCode(err, 'UNKNOWN_KEY') || keys.look === undefined) throw asRefusal(err);
    }
    await keys.look();
    try {
      return this.#verify(request);
    } catch (err) {
      throw asRefusal(err);
    }
  }

  #verify({ method, raw, headers }: FastifyRequest): ReplicaCall {
    const keys = (keyId: string) => this.#modules.keys.find(keyId);
    const target = { method, path: raw.url ?? '' };
    return verifyReplicaCall(headers.authorization, target, { keys, nowMs: this.#now() });
  }

  /** Both hubs must know each other, in their present runs. */
  async #expect({ from, to }: ReplicaCall): Promise<void> {
    const { ownership, refresh } = this.#modules;
    const { self } = ownership;
    if (self === undefined || to.id !== self.id || to.joined !== self.joined) {
      throw new ReplicaError('WRONG_TARGET', `the call is for ${to.id}, run ${to.joined}`);
    }
    const isKnown = (): boolean =>
      ownership.view?.replicas.some(({ id, joined }) => id === from.id && joined === from.joined) ??
      false;
    if (!isKnown()) await refresh();
    if (!isKnown()) {
      throw new ReplicaError('NO_REPLICA', `${from.id}, run ${from.joined}, is no hub here`);
    }
    if (this.#replays.joined !== to.joined) {
      this.#replays = { joined: to.joined, window: new ReplayWindow() };
    }
    this.#replays.window.keep(new Set(ownership.view?.replicas.map(({ id }) => id)));
  }

  /** What the other hub signed. */
  #bodyOf(request: FastifyRequest): Buffer {
    const body = bytesOf(request);
    if (bodyHashOf(body) === this.#calls.get(request)?.bodyHash) return body;
    throw new ReplicaError('BAD_SIGNATURE', 'the body is not the one that was signed');
  }

  #refuse(err: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const { metrics, logger } = this.#modules;
    const isGone = request.raw.destroyed && !request.raw.complete;
    const refusal = isGone
      ? new ReplicaError('ABORTED', 'the other hub went')
      : asReplicaError(err);
    const { code, status, message } = refusal;
    metrics.received.inc({ code });
    if (status >= 500) logger.warn({ code, err }, 'a call of another hub failed');
    else logger.info({ code, reason: message }, 'a call of another hub is refused');
    const body = { error: { code, message } };
    return reply.code(status).type('application/json').send(body);
  }
}

function asRefusal(err: unknown): unknown {
  if (!(err instanceof TrustError)) return err;
  const isClock = hasCode(err, 'EXPIRED', 'NOT_YET_VALID');
  const code = isClock ? 'CLOCK_SKEW' : 'BAD_SIGNATURE';
  return new ReplicaError(code, err.message, { cause: err });
}

function asReplicaError(err: unknown): ReplicaError {
  if (err instanceof ReplicaError) return err;
  const { code, message } = failureOf(err);
  return new ReplicaError(code, message, { cause: err });
}
