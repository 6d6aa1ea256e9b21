import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fastify, type FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { LEAF_BYTES } from '../../proto/chunks/layout.ts';
import { checkBody } from '../../proto/hubapi/body.ts';
import { FLEET_PATHS } from '../../proto/hubapi/constants.ts';
import { EnrolResponse, FleetErrorBody } from '../../proto/hubapi/schemas.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import { peerIdFromPublicKey } from '../../proto/trust/peer-id.ts';
import { signRequest } from '../../proto/trust/request-signature.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { createFleet, type CreateFleetModules, type Fleet, type FleetPart } from './fleet.ts';
import { MemoryFleetStore } from './memory-store.ts';
import type { FleetConfig } from './options.ts';
import type { FleetStore } from './store.ts';
import type { PrefetchDesk } from './prefetch-desk.ts';
import type { TrackerDesk } from './tracker.ts';

/** A blob of the pretended catalog: 10 chunks. */
export const BLOB = digestOf(Buffer.from('layer'));
export const BLOB_SIZE = 10 * LEAF_BYTES - 3;
export const MANIFEST = digestOf(Buffer.from('manifest'));
export const START_MS = 1_700_000_000_000;

/** An agent without network: a key, and requests signed with it. */
export class TestAgent {
  readonly privateKey: KeyObject = generateKeyPairSync('ed25519').privateKey;
  readonly peerId = peerIdFromPublicKey(rawPublicKey(this.privateKey));
}

/** `code` is that of a refusal, else ''. */
export type Reply = { status: number; body: unknown; code: string };

/** Every repository whose name ends with /app has one image of one blob. */
function catalogOf(tags: ReadonlyMap<string, Digest>): CreateFleetModules['catalog'] {
  return {
    blobChunks: async (digest) =>
      digest === BLOB ? { size: BLOB_SIZE, root: Buffer.alloc(32, 1) } : undefined,
    blobIn: async (repository, digest) =>
      repository.endsWith('/app') && digest === BLOB ? { size: BLOB_SIZE } : undefined,
    reachable: async (repository, digest) =>
      repository.endsWith('/app') && (digest === BLOB || digest === MANIFEST)
        ? { manifestDigest: MANIFEST, digests: [BLOB] }
        : undefined,
    tagged: async (repository, tag) => tags.get(`${repository}:${tag}`),
  };
}

/** A hub's fleet room in one process, with a clock that stands still until it is moved. */
export class TestHub {
  readonly app: FastifyInstance = fastify();
  readonly metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  readonly logs: Record<string, unknown>[] = [];
  readonly trust: TrustStore;
  readonly fleet: Fleet;
  /** What tags name, as `repository:tag`. */
  readonly tags: Map<string, Digest>;
  readonly keysDir: string;
  readonly #clock: { nowMs: number };

  private constructor(parts: {
    fleet: Fleet;
    clock: { nowMs: number };
    keysDir: string;
    tags: Map<string, Digest>;
    logs: Record<string, unknown>[];
    metrics: MetricsRegistry;
  }) {
    this.fleet = parts.fleet;
    this.#clock = parts.clock;
    this.keysDir = parts.keysDir;
    this.tags = parts.tags;
    this.logs = parts.logs;
    this.metrics = parts.metrics;
    this.trust = new TrustStore({ rootFingerprint: parts.fleet.rootFingerprint });
    this.fleet.routes(this.app);
  }

  static async start(
    t: TestContext,
    options: {
      config?: Partial<FleetConfig>;
      store?: FleetStore;
      trustedProxies?: string[];
      purged?: () => { version: string; digests: readonly string[] };
      shared?: boolean;
      coming?: CreateFleetModules['coming'];
      deskOf?: (part: FleetPart) => TrackerDesk;
      prefetch?: PrefetchDesk;
      /** Another hub whose clock and key files this one has too. */
      beside?: TestHub;
      keysDir?: string;
    } = {},
  ): Promise<TestHub> {
    const folder = await mkdtemp(join(tmpdir(), 'flotilla-fleet-'));
    const keysDir = options.keysDir ?? options.beside?.keysDir ?? join(folder, 'keys');
    const logs: Record<string, unknown>[] = [];
    const { beside } = options;
    const clock = beside === undefined ? { nowMs: START_MS } : beside.#clock;
    const tags = new Map<string, Digest>();
    const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
    const fleet = await createFleet(
      {
        config: {
          addressCidrs: [],
          zones: {},
          membershipLife: 7 * 86_400_000,
          grantLife: 15 * 60_000,
          sourceRate: 64 * 1024 ** 2,
          joinTokenLife: 3_600_000,
          keys: {},
          ...options.config,
        },
        keysDir,
        shared: options.shared ?? false,
        hubNames: ['hub.example'],
        upstreams: [{ name: 'docker.io', alias: 'dockerhub' }],
        trustedProxies: options.trustedProxies ?? [],
        now: () => clock.nowMs,
      },
      {
        store: options.store ?? new MemoryFleetStore(),
        catalog: catalogOf(tags),
        coming: options.coming,
        isPublic: (repository) => !repository.startsWith('private/'),
        // "Bearer <repository>" shows the right to it, and is lent as it is.
        privateRights: {
          lend: async (authorization, repository) =>
            authorization === `Bearer ${repository}` ? repository : undefined,
          mayRead: async (token, repository) => token === repository,
        },
        purged: options.purged ?? (() => ({ version: '', digests: [] })),
        chores: { add: () => {} },
        deskOf: options.deskOf,
        prefetch: () => options.prefetch,
        metrics,
        logger: pino({ level: 'trace' }, { write: (line) => void logs.push(JSON.parse(line)) }),
      },
    );
    const hub = new TestHub({ fleet, clock, keysDir, tags, logs, metrics });
    t.after(async () => {
      await fleet.close();
      await hub.app.close();
      await rm(folder, { recursive: true, force: true });
    });
    return hub;
  }

  get nowMs(): number {
    return this.#clock.nowMs;
  }

  /** Moves the clock on. */
  wait(ms: number): void {
    this.#clock.nowMs += ms;
  }

  /** A signed call; each one a millisecond after the last. */
  async call(
    agent: TestAgent,
    call: keyof typeof FLEET_PATHS,
    body?: object,
    options: { query?: string; remote?: string; headers?: Record<string, string> } = {},
  ): Promise<Reply> {
    const [method, path, bytes, headers] = this.signed(agent, call, body, options.query);
    return await this.send(method, path, bytes, { ...headers, ...options.headers }, options);
  }

  /** What `send` takes, to send it more than once. */
  signed(
    agent: TestAgent,
    call: keyof typeof FLEET_PATHS,
    body?: object,
    query = '',
  ): ['GET' | 'POST', string, Buffer, { authorization: string }] {
    this.wait(1);
    const path = FLEET_PATHS[call] + query;
    const method = body === undefined ? 'GET' : 'POST';
    const bytes = Buffer.from(body === undefined ? '' : JSON.stringify(body));
    const authorization = signRequest({ method, path, body: bytes, nowMs: this.nowMs }, agent);
    return [method, path, bytes, { authorization }];
  }

  /** A request as it is. */
  async send(
    method: 'GET' | 'POST',
    path: string,
    body: Buffer,
    headers: Record<string, string> = {},
    options: { remote?: string } = {},
  ): Promise<Reply> {
    const response = await this.app.inject({
      method,
      url: path,
      headers: { 'content-type': 'application/json', ...headers },
      remoteAddress: options.remote ?? '10.0.0.9',
      ...(body.length > 0 ? { payload: body } : {}),
    });
    const answer: unknown = response.json();
    const refused = response.statusCode >= 400;
    const code = refused ? checkBody(FleetErrorBody, answer).error.code : '';
    return { status: response.statusCode, body: answer, code };
  }

  /** Enrols with a fresh token unless one is given, and loads the keys of the answer. */
  async enrol(
    agent: TestAgent,
    node: string,
    options: { token?: string; remote?: string; addresses?: string[]; zone?: string } = {},
  ): Promise<Reply> {
    const token = options.token ?? (await this.fleet.createJoinToken());
    const { peerId } = agent;
    const { addresses = [], zone } = options;
    const body = { token, node, peerId, addresses, libp2pPort: 7412, lanePort: 0, version: '0' };
    const reply = await this.call(agent, 'enrol', zone === undefined ? body : { ...body, zone }, {
      remote: options.remote ?? '10.0.0.9',
    });
    if (reply.status === 200) {
      const { keyBundle } = checkBody(EnrolResponse, reply.body);
      this.trust.load(Buffer.from(keyBundle, 'base64'));
    }
    return reply;
  }

  /** Value of a counter or gauge, summed over its label sets that contain `labels`. */
  async metric(name: string, labels: Record<string, string> = {}): Promise<number> {
    const metric = await this.metrics.registry.getSingleMetric(`flotilla_hub_${name}`)?.get();
    const values = metric?.values.filter((value) =>
      Object.entries(labels).every(([key, wanted]) => String(value.labels[key]) === wanted),
    );
    return values?.reduce((sum, { value }) => sum + value, 0) ?? Number.NaN;
  }
}

/** One entry of an announcement. */
export function download(fields: {
  digest?: Digest;
  complete?: boolean;
  have?: Buffer;
  wanted?: number;
  repository?: string;
  namespace?: string;
  size?: number;
  token?: string;
}): object {
  return {
    namespace: fields.namespace ?? 'hub',
    repository: fields.repository ?? 'team/app',
    digest: fields.digest ?? BLOB,
    size: fields.size ?? BLOB_SIZE,
    complete: fields.complete ?? false,
    have: (fields.have ?? Buffer.alloc(0)).toString('base64'),
    hubChunksWanted: fields.wanted ?? 0,
    ...(fields.token === undefined ? {} : { token: fields.token }),
  };
}
