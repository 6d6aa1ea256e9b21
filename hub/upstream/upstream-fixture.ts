import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { TestContext } from 'node:test';
import { testRegistry, type TestRegistry } from '../../proto/distribution/test-registry.ts';
import type { Lookup } from '../../proto/distribution/addresses.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { HubOptions } from '../options.ts';
import type { BudgetStore } from './budget-store.ts';
import { UpstreamError } from './errors.ts';
import { MemoryBudgets } from './memory-budgets.ts';
import { openUpstreams } from './open.ts';
import type { Upstream } from './port.ts';

export const REMOTE = parseRepository('library/app');
export const LATEST = parseReference('latest');
export const INTERACTIVE = { urgency: 'interactive' } as const;
export const SCHEDULED = { urgency: 'scheduled' } as const;
export const BLOB = Buffer.from('the bytes of a layer');
export const BLOB_DIGEST: Digest = digestOf(BLOB);
export const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: BLOB_DIGEST, size: 20 },
    layers: [],
  }),
);
export const MANIFEST_DIGEST: Digest = digestOf(MANIFEST);

/** Time that passes only when a test says so, or when something sleeps. */
export class TestClock {
  ms = 1_000_000_000_000;
  readonly slept: number[] = [];
  readonly now = (): number => this.ms;
  readonly random = (): number => 0.5;
  readonly sleep = async (ms: number): Promise<void> => {
    this.slept.push(ms);
    this.ms += ms;
  };
}

export type UpstreamRig = {
  upstream: Upstream;
  registry: TestRegistry;
  clock: TestClock;
  store: BudgetStore;
  /** The value of a metric of this upstream; 0 when there is none. */
  metric: (name: string, labels?: string) => Promise<number>;
  /** Another hub on the same store. */
  replica: () => Promise<Upstream>;
};

/** An upstream named docker.io that is a registry on loopback, which does what a test wants. */
export async function upstreamRig(
  t: TestContext,
  answer: RequestListener,
  options: { settings?: object; lookup?: Lookup } = {},
): Promise<UpstreamRig> {
  const registry = await testRegistry(t, answer);
  const clock = new TestClock();
  const store = new MemoryBudgets({ now: clock.now });
  const upstreams = [{ name: 'docker.io', url: registry.url, ...options.settings }];
  const config = loadConfig(HubOptions, { text: JSON.stringify({ upstreams }), env: {} });
  const open = async (): Promise<{ upstream: Upstream; metrics: MetricsRegistry }> => {
    const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
    const { lookup } = options;
    const modules = {
      store,
      metrics,
      clock,
      logger: createLogger({ level: 'silent', name: 'test' }),
    };
    const more = { build: 'test', env: {}, ...(lookup === undefined ? {} : { lookup }) };
    const opened = await openUpstreams(config.upstreams, { ...modules, ...more });
    t.after(() => opened.close());
    const place = opened.upstreams.placeOf(parseRepository('docker.io/library/app'));
    if (place === undefined) throw new Error('docker.io is configured');
    return { upstream: place.upstream, metrics };
  };
  const { upstream, metrics } = await open();
  const metric = async (name: string, labels = ''): Promise<number> => {
    const lines = (await metrics.text()).split('\n');
    const found = lines.find(
      (line) => line.startsWith(`flotilla_hub_${name}{`) && line.includes(labels),
    );
    return Number(found?.split(' ').at(-1) ?? 0);
  };
  const replica = async (): Promise<Upstream> => (await open()).upstream;
  return { upstream, registry, clock, store, metric, replica };
}

/** When an UpstreamError says that the upstream is asked again; NaN when it does not. */
export function retryAtOf(err: unknown): number {
  const data = err instanceof UpstreamError ? err.data : undefined;
  return data !== undefined && 'retryAtMs' in data ? (data.retryAtMs ?? Number.NaN) : Number.NaN;
}

/** A registry that counts pulls for each account and tells of it, as Docker Hub does. */
export class CountingRegistry {
  readonly limit: number;
  readonly windowMs: number;
  /** Answers the next requests in their place; false: this one is answered as usual. */
  instead: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;
  /** Pulls made in this window, by account. */
  readonly pulls = new Map<string, number>();
  readonly #accounts: boolean;
  readonly #source: ((account: string) => string) | undefined;

  constructor(options: {
    limit: number;
    windowMs: number;
    /** Wants to know who asks. */
    accounts?: boolean;
    source?: (account: string) => string;
  }) {
    this.limit = options.limit;
    this.windowMs = options.windowMs;
    this.#accounts = options.accounts ?? false;
    this.#source = options.source;
  }

  readonly answer: RequestListener = (request, response) => {
    if (this.instead(request, response)) return;
    const { url = '', method, headers } = request;
    const account = userOf(headers.authorization);
    if (this.#accounts && account === '') {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end();
      return;
    }
    if (!url.includes('/manifests/')) {
      const known = url.endsWith(BLOB_DIGEST);
      response.setHeader('content-length', known ? BLOB.length : 0);
      response.writeHead(known ? 200 : 404).end(known ? BLOB : undefined);
      return;
    }
    const source = this.#source?.(account);
    const before = this.pulls.get(source ?? account) ?? 0;
    const isLimited = method === 'GET' && before >= this.limit;
    const now = before + Number(method === 'GET' && !isLimited);
    this.pulls.set(source ?? account, now);
    const window = `;w=${this.windowMs / 1000}`;
    response.setHeader('ratelimit-limit', `${this.limit}${window}`);
    response.setHeader('ratelimit-remaining', `${this.limit - now}${window}`);
    if (source !== undefined) response.setHeader('docker-ratelimit-source', source);
    response.setHeader('content-type', OCI_MANIFEST);
    if (isLimited) response.writeHead(429).end('{"errors":[{"code":"TOOMANYREQUESTS"}]}');
    else response.setHeader('content-length', MANIFEST.length).end(MANIFEST);
  };
}

/** The account of Basic credentials; empty for none. */
export function userOf(authorization: string | undefined): string {
  const [scheme, text = ''] = (authorization ?? '').split(' ');
  const [user = ''] = Buffer.from(text, 'base64').toString().split(':');
  return scheme === 'Basic' ? user : '';
}
