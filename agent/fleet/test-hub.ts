// A hub of the fleet API alone, for the tests of this room.
import Fastify, { type FastifyInstance } from 'fastify';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { formatJoinToken, newJoinToken } from '../../proto/trust/join-token.ts';
import { signMembership, type Membership } from '../../proto/trust/membership.ts';
import { verifyRequest } from '../../proto/trust/request-signature.ts';

export const FLEET_ID = 'test-fleet';
const DAY_MS = 86_400_000;

type Answer = { status?: number; body: object };
type Caller = { peerId: string; url: string; timeMs: number };
type Handler = (body: Record<string, unknown>, from: Caller) => Answer;

/** Answers signed calls by `handlers`; each can be replaced by a test. */
export class TestHub implements AsyncDisposable {
  readonly ring = KeyRing.create(Date.now());
  readonly handlers: Record<string, Handler>;
  readonly calls: { path: string; peerId: string; body: Record<string, unknown> }[] = [];
  url = '';
  #serial = 0;
  readonly #app: FastifyInstance = Fastify({ forceCloseConnections: true });

  constructor() {
    this.handlers = {
      [FLEET_PATHS.enrol]: (body, { peerId }) => ({
        body: {
          fleetId: FLEET_ID,
          keyBundle: this.ring.bundle().toString('base64'),
          membership: this.membership({ peerId, node: String(body['node']) }).toString('base64'),
          hubNames: ['hub.example'],
          membersVersion: 1,
        },
      }),
      [FLEET_PATHS.renew]: (_body, { peerId }) => ({
        body: {
          keyBundle: this.ring.bundle().toString('base64'),
          membership: this.membership({ peerId }).toString('base64'),
        },
      }),
      [FLEET_PATHS.keys]: () => ({ body: { keyBundle: this.ring.bundle().toString('base64') } }),
      [FLEET_PATHS.members]: () => ({ body: { version: 0 } }),
    };
  }

  async start(): Promise<this> {
    const app = this.#app;
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
      done(null, body);
    });
    app.all('/*', async (request, reply) => {
      const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const { method, url } = request;
      const signed = { method, path: url, body: bytes };
      const header = request.headers.authorization;
      const timeMs = Number(timeOf(header));
      const { peerId } = verifyRequest(header, signed, { nowMs: timeMs });
      const path = url.split('?')[0] ?? '';
      const body: Record<string, unknown> = JSON.parse(bytes.toString() || '{}');
      this.calls.push({ path, peerId, body });
      const missing = { status: 404, body: { error: { code: 'NOT_FOUND', message: 'no' } } };
      const answer = this.handlers[path]?.(body, { peerId, url, timeMs }) ?? missing;
      return reply.code(answer.status ?? 200).send(answer.body);
    });
    this.url = await app.listen({ host: '127.0.0.1', port: 0 });
    return this;
  }

  joinToken(): string {
    return formatJoinToken(newJoinToken(this.ring.fingerprint()));
  }

  membership(overrides: Partial<Membership> & { peerId: string }): Buffer {
    const nowMs = Date.now();
    const membership = {
      fleetId: FLEET_ID,
      node: `node-${this.#serial}`,
      zone: '',
      addresses: ['127.0.0.1'],
      libp2pPort: 7412,
      lanePort: 0,
      serial: ++this.#serial,
      notBeforeMs: nowMs - 1_000,
      notAfterMs: nowMs + 7 * DAY_MS,
      ...overrides,
    };
    return signMembership(membership, this.ring.signingKey('membership'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app.close();
  }
}

// The stub has no clock of its own, so that tests may move that of the client.
function timeOf(header: string | undefined): string {
  return /time="(\d+)"/.exec(header ?? '')?.[1] ?? '0';
}
