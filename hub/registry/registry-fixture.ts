import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage, RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { Agent, request, type Dispatcher } from 'undici';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { createLogger, type Logger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { keysOf } from '../access/access-fixture.ts';
import { openAccess, type Access } from '../access/access.ts';
import { createAccessMetrics } from '../access/metrics.ts';
import { Rights } from '../access/rights.ts';
import { FilesystemBlobStore } from '../blobs/filesystem.ts';
import type { BlobStore } from '../blobs/port.ts';
import { KyselyAccessStore } from '../catalog/access-store.ts';
import type { AccessTables } from '../catalog/access-tables.ts';
import type { OpenCatalog } from '../catalog/open-catalog.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import { KyselyUploadStore, type UploadTables } from '../catalog/upload-store.ts';
import { createBaseUrl } from '../http/base-url.ts';
import { createCallerOf } from '../http/caller-of.ts';
import { createGuard } from '../http/guard.ts';
import { startServers, type HubServers } from '../http/servers.ts';
import { createUplinkMetrics } from '../uplink/metrics.ts';
import { Uplink } from '../uplink/uplink.ts';
import { createRegistryMetrics } from './metrics.ts';
import type { ProvisionalBlobs } from './provisional.ts';
import type { PullThrough } from './pull-through.ts';
import type { UploadStore } from './upload-store.ts';
import { Registry, type RegistryGuard, type RegistryOptions } from './registry.ts';

const PASSWORD = 'a password';
export const BASIC = `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`;
export const MIB = 1024 * 1024;

export type Answer = { status: number; headers: Record<string, unknown>; body: Buffer };
type Ask = {
  method?: Dispatcher.HttpMethod;
  headers?: Record<string, string>;
  body?: Buffer | string | Readable;
  /** As the admin, unless said otherwise. */
  authorization?: string;
};
/** Where a registry keeps what it is given; closed by who opened it. */
export type Drivers = { catalog: OpenCatalog; blobs: BlobStore };
/** What pull-through is made of. */
export type PullParts = Drivers & {
  folder: string;
  uploads: UploadStore;
  rights: Rights;
  metrics: MetricsRegistry;
  logger: Logger;
};
type Pulls = { pullThrough: PullThrough; provisional?: ProvisionalBlobs } & AsyncDisposable;
type Parts = {
  folder: string;
  url: string;
  registry: Registry;
  catalog: OpenCatalog;
  blobs: BlobStore;
  metrics: MetricsRegistry;
  logged: Record<string, unknown>[];
};

function accessTo(
  { db }: Pick<OpenCatalog, 'db'>,
  modules: { dataDir: string; metrics: MetricsRegistry; logger: Logger },
): Promise<Access> {
  const store = new KyselyAccessStore({ db: db.withTables<AccessTables>() });
  return openAccess(
    { adminUsername: 'admin', adminPassword: PASSWORD, defaultVisibility: 'public' },
    {
      ...modules,
      tokenKeys: keysOf(KeyRing.create(Date.now())),
      rights: new Rights({ now: Date.now }, { store }),
      store,
      metrics: createAccessMetrics(modules.metrics),
    },
  );
}

/** The registry API over real HTTP, files and database, for one test. */
export class TestRegistry {
  readonly folder: string;
  readonly url: string;
  readonly registry: Registry;
  readonly catalog: OpenCatalog;
  readonly blobs: BlobStore;
  /** What the registry wrote into its log. */
  readonly logged: readonly Record<string, unknown>[];
  readonly #metrics: MetricsRegistry;
  readonly #agent = new Agent();

  private constructor(parts: Parts) {
    this.folder = parts.folder;
    this.url = parts.url;
    this.registry = parts.registry;
    this.catalog = parts.catalog;
    this.blobs = parts.blobs;
    this.logged = parts.logged;
    this.#metrics = parts.metrics;
  }

  /** Stopped, and its folder removed, when the test has ended. */
  static async start(
    t: TestContext,
    options: RegistryOptions & {
      externalUrl?: string;
      trustedProxies?: string[];
      uplink?: number;
      callerOf?: (request: IncomingMessage) => string;
      /** Who asks may pull from these repositories only. */
      mayPull?: (repository: string) => boolean;
      subjectOf?: (request: IncomingMessage) => Promise<string>;
      /** Blobs on their way from upstreams. */
      provisional?: ProvisionalBlobs;
      /** Replicas use its catalog too. */
      shared?: boolean;
      /** Instead of SQLite and files of its own. */
      drivers?: Drivers;
      /** Another replica of this one: the same blobs and the same catalog. */
      beside?: TestRegistry;
      /** Answers for upstreams; closed before what it is made of. */
      pullThrough?: (parts: PullParts) => Promise<Pulls>;
    } = {},
  ): Promise<TestRegistry> {
    const { beside } = options;
    const folder = beside?.folder ?? (await mkdtemp(path.join(tmpdir(), 'flotilla-registry-')));
    const logged: Record<string, unknown>[] = [];
    const write = (line: string): void => void logged.push(JSON.parse(line));
    const logger = createLogger({ level: 'debug', name: 'test' }, { write });
    const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
    const { blobs, catalog } = options.drivers ?? (await openDrivers(folder, beside));
    const access = await accessTo(catalog, { dataDir: folder, metrics, logger });
    const { externalUrl, trustedProxies = [] } = options;
    const callerOf = options.callerOf ?? createCallerOf({ trustedProxies });
    const baseUrl = createBaseUrl({ externalUrl, tls: false, trustedProxies });
    const uploads = new KyselyUploadStore(
      { shared: options.shared === true || (beside ?? options.drivers) !== undefined },
      { db: catalog.db.withTables<UploadTables>() },
    );
    const parts = { folder, blobs, catalog, uploads, rights: access.rights, metrics, logger };
    const pulls = await options.pullThrough?.(parts);
    const registry = new Registry(options, {
      blobs,
      catalog,
      uploads,
      pullThrough: pulls?.pullThrough,
      guard: guardOf(createGuard({ access, baseUrl, callerOf, catalog }), options),
      statementFor: async () => undefined,
      provisional: pulls?.provisional ?? options.provisional,
      uplink: uplinkOf(options.uplink, metrics),
      callerOf,
      metrics: (open) => createRegistryMetrics(metrics, open),
      logger,
    });
    const servers = await serve(registry, logger);
    const [url = ''] = servers.urls;
    const own = new TestRegistry({ folder, url, registry, catalog, blobs, metrics, logged });
    t.after(async () => {
      await own.#agent.destroy();
      await servers.close();
      await registry.close();
      await pulls?.[Symbol.asyncDispose]();
      if (options.drivers === undefined) await blobs.close();
      if (beside !== undefined) return;
      if (options.drivers === undefined) await catalog.close();
      await rm(folder, { recursive: true, force: true });
    });
    return own;
  }

  async ask(target: string, ask: Ask = {}): Promise<Answer> {
    const { method = 'GET', headers = {}, body, authorization = BASIC } = ask;
    const response = await request(new URL(target, this.url), {
      method,
      headers: { ...headers, ...(authorization === '' ? {} : { authorization }) },
      ...(body === undefined ? {} : { body }),
      dispatcher: this.#agent,
    });
    const bytes = Buffer.from(await response.body.arrayBuffer());
    return { status: response.statusCode, headers: response.headers, body: bytes };
  }

  /** Opens an upload; where it goes on. */
  async open(repository = 'team/app'): Promise<string> {
    const answer = await this.ask(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    assert.equal(answer.status, 202, answer.body.toString());
    return String(answer.headers['location']);
  }

  async push(bytes: Buffer, repository = 'team/app'): Promise<Digest> {
    const digest = digestOf(bytes);
    const target = `${await this.open(repository)}?digest=${digest}`;
    const answer = await this.ask(target, { method: 'PUT', body: bytes });
    assert.equal(answer.status, 201, answer.body.toString());
    return digest;
  }

  putManifest(reference: string, manifest: object, type = OCI_MANIFEST): Promise<Answer> {
    const headers = { 'content-type': type };
    const body = JSON.stringify(manifest);
    return this.ask(`/v2/team/app/manifests/${reference}`, { method: 'PUT', headers, body });
  }

  /** A connection on which a test sends what it wants. */
  async connect(): Promise<Socket> {
    const { hostname, port } = new URL(this.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  }

  /** Resolves once the registry has answered, or given up, all requests but this look. */
  async idle(): Promise<void> {
    while ((await this.metric('requests_in_flight')) > 0) {
      // oxlint-disable-next-line no-await-in-loop -- one turn of the event loop after the other
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async metric(start: string): Promise<number> {
    const lines = (await this.#metrics.text()).split('\n');
    const found = lines.filter((line) => line.startsWith(`flotilla_hub_${start}`));
    return found.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }
}

/** Files in the folder, and SQLite there unless another replica has it. */
async function openDrivers(folder: string, beside: TestRegistry | undefined): Promise<Drivers> {
  const blobs = await FilesystemBlobStore.open({ root: path.join(folder, 'registry') });
  const file = path.join(folder, 'catalog.sqlite');
  return { blobs, catalog: beside?.catalog ?? (await openSqliteCatalog({ path: file })) };
}

function guardOf(
  guard: RegistryGuard,
  {
    mayPull,
    subjectOf,
  }: {
    mayPull?: (repository: string) => boolean;
    subjectOf?: (request: IncomingMessage) => Promise<string>;
  },
): RegistryGuard {
  return {
    subjectOf: (asked) => (subjectOf ? subjectOf(asked) : guard.subjectOf(asked)),
    visibleTo: (asked) => guard.visibleTo(asked),
    challenge: (asked, wish) => guard.challenge(asked, wish),
    check: async (asked, wish) => {
      await guard.check(asked, wish);
      const { repository, action } = wish;
      if (action !== 'pull' || repository === undefined || mayPull?.(repository) !== false) return;
      throw ociError('DENIED', 'not from here');
    },
  };
}

/** Fails unless the answer is an OCI error of this status and code. */
export function assertRefused(answer: Answer, status: number, code: string): void {
  assert.equal(answer.headers['content-type'], 'application/json');
  const body: { errors: { code: string; message: string }[] } = JSON.parse(answer.body.toString());
  assert.equal(answer.status, status, answer.body.toString());
  assert.deepEqual(
    body.errors.map((error) => error.code),
    [code],
  );
  assert.notEqual(body.errors[0]?.message, '');
}

function uplinkOf(bytesPerSecond: number | undefined, metrics: MetricsRegistry): Uplink {
  return new Uplink({ bytesPerSecond }, { metrics: createUplinkMetrics(metrics) });
}

function serve(registry: Registry, logger: Logger): Promise<HubServers> {
  const listener: RequestListener = (asked, answer) => void registry.handle(asked, answer);
  return startServers({ listen: ['127.0.0.1:0'] }, { listener, logger });
}
