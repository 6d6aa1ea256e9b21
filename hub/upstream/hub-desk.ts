import type { FastifyReply, FastifyRequest } from 'fastify';
import { UNCHUNKED_MAX_BYTES } from '../../proto/chunks/layout.ts';
import { parseBody } from '../../proto/hubapi/body.ts';
import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { OpenBlob } from '../blobs/port.ts';
import { sendBody } from '../registry/body.ts';
import type { BufferMemory } from '../registry/buffer-memory.ts';
import { connectionSignal } from '../registry/http.ts';
import { UpstreamAway } from '../registry/pull-through.ts';
import { ReplicaError } from '../replicas/errors.ts';
import type { ReplicaRoute } from '../replicas/routes.ts';
import { holderOf } from './held-elsewhere.ts';
import {
  HUB_BLOB_PATH,
  HUB_LEAVES_PATH,
  HUB_REFUSAL_STATUS,
  HubLeavesQuestion,
  HubQuestion,
  type HubRefusal,
} from './hub-question.ts';
import type { Ingests, UpstreamPlace, Upstreams } from './port.ts';
import type { Provisional } from './provisional/provisional.ts';
import { AWAY_RETRY_MS, HUB_QUESTION_MAX_BYTES } from './pull-constants.ts';

type Modules = {
  upstreams: Pick<Upstreams, 'placeOf'>;
  /** A blob that is here, or on its way to this very hub. */
  open: (place: UpstreamPlace, digest: Digest, o: { signal: AbortSignal }) => Promise<OpenBlob>;
  /** One on its way to this very hub. */
  find: Ingests['find'];
  memory: BufferMemory;
  logger: Logger;
};

const NO_TURNS = { turn: () => undefined, [Symbol.dispose]: () => undefined };

/** Lets other hubs read blobs that are on their way to this one. They have checked the rights. */
export function hubDesk(modules: Modules): ReplicaRoute {
  return {
    path: HUB_BLOB_PATH,
    bodyMax: HUB_QUESTION_MAX_BYTES,
    answer: (body, request, reply) => answer(parseBody(HubQuestion, body), request, reply, modules),
  };
}

async function answer(
  question: HubQuestion,
  request: FastifyRequest,
  reply: FastifyReply,
  modules: Modules,
): Promise<FastifyReply> {
  const { start, end } = question;
  const signal = connectionSignal(request.raw);
  let blob: OpenBlob;
  try {
    blob = await opened(question, signal, modules);
  } catch (err) {
    return refuse(reply, err);
  }
  await using open = blob;
  const { size } = open;
  if (start === undefined || end === undefined) {
    return reply.type('application/json').send({ size });
  }
  if (start >= end || end > size) {
    throw new ReplicaError('INVALID_BODY', `the blob has ${size} bytes`);
  }
  reply.hijack();
  const { raw: response } = reply;
  response.writeHead(200, { 'content-length': end - start });
  response.flushHeaders();
  try {
    const { memory } = modules;
    const to = { response, signal };
    const parts = { uplink: NO_TURNS, memory, onBytes: () => undefined };
    await sendBody(open, { start, end }, to, parts);
  } catch (err) {
    modules.logger.info({ reason: messageOf(err) }, 'a blob for another hub broke off');
    response.destroy();
  }
  return reply;
}

/** Tells other hubs leaves of blobs on their way to this one; whom that may be told they know. */
export function leavesDesk(modules: {
  upstreams: Pick<Upstreams, 'placeOf'>;
  provisional: Pick<Provisional, 'batch'>;
}): ReplicaRoute {
  return {
    path: HUB_LEAVES_PATH,
    bodyMax: HUB_QUESTION_MAX_BYTES,
    answer: async (body, request, reply) => {
      const question = parseBody(HubLeavesQuestion, body);
      const signal = connectionSignal(request.raw);
      try {
        const { place, digest } = targetOf(question, modules);
        const { repository } = place;
        const { from } = question;
        const batch = await modules.provisional.batch(repository, digest, from, { signal });
        if (batch === undefined) throw ociError('BLOB_UNKNOWN', 'this blob is not being fetched');
        return await reply.type('application/octet-stream').send(batch);
      } catch (err) {
        return refuse(reply, err);
      }
    },
  };
}

function targetOf(
  { repository, digest }: { repository: string; digest: string },
  { upstreams }: Pick<Modules, 'upstreams'>,
): { place: UpstreamPlace; digest: Digest } {
  const place = upstreams.placeOf(parseRepository(repository));
  if (place !== undefined && isDigest(digest)) return { place, digest };
  throw ociError('BLOB_UNKNOWN', 'not of an upstream');
}

async function opened(
  question: HubQuestion,
  signal: AbortSignal,
  { upstreams, open, find }: Modules,
): Promise<OpenBlob> {
  const { place, digest } = targetOf(question, { upstreams });
  if (question.checksLeaves === true) {
    const running = find(place.repository, digest);
    if (running !== undefined && running.size > UNCHUNKED_MAX_BYTES) {
      return running.open({ signal, checksLeaves: true });
    }
    if (question.end === undefined) throw ociError('BLOB_UNKNOWN', 'the blob is not on its way');
  }
  return open(place, digest, { signal });
}

function refuse(reply: FastifyReply, err: unknown): FastifyReply {
  return reply.code(HUB_REFUSAL_STATUS).type('application/json').send(told(err));
}

function told(err: unknown): HubRefusal {
  if (err instanceof ReplicaError) throw err;
  const holder = holderOf(err);
  if (holder === undefined && hasCode(err, 'HELD_ELSEWHERE')) {
    throw new ReplicaError('WRONG_TARGET', 'another hub goes on with the blob', { cause: err });
  }
  const message = messageOf(err).slice(0, HUB_QUESTION_MAX_BYTES);
  const retryAfterS =
    err instanceof UpstreamAway ? err.retryAfterS : Math.ceil(AWAY_RETRY_MS / 1000);
  if (hasCode(err, 'BLOB_UNKNOWN', 'NAME_UNKNOWN'))
    return { code: 'unknown', message, retryAfterS };
  if (hasCode(err, 'DENIED', 'PURGED')) return { code: 'denied', message, retryAfterS };
  return { code: 'away', message, retryAfterS, ...(holder === undefined ? {} : { holder }) };
}
