import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { RegistryClient } from '../proto/distribution/registry-client.ts';
import { wellKnownHosts } from '../proto/distribution/well-known.ts';
import type { UpstreamName } from '../proto/hubapi/schemas.ts';
import { canonicalHost } from '../proto/oci/name.ts';
import { ConfigError } from '../proto/ops/errors.ts';
import { messageOf } from '../proto/std/errors.ts';
import type { RateBudget } from '../proto/std/rate-budget.ts';
import { RegistrySource } from './fetch/hub-source.ts';
import type { FetchMetrics } from './fetch/metrics.ts';
import type { HubSource } from './fetch/ports.ts';
import { HUB_NAMES_MAX } from './mirror/constants.ts';
import { noOrigin, RegistryOrigin } from './mirror/registry-origin.ts';
import type { NamespaceRules, Target } from './mirror/namespace.ts';
import type { Origin } from './mirror/ports.ts';
import type { AgentConfig } from './options.ts';

type Registry = { client: RegistryClient; source: HubSource; origin: Origin };

/** The registries this agent may read: the hub, if there is one, and the configured upstreams. */
export class Registries {
  readonly #hub: Registry | undefined;
  readonly #upstreams: ReadonlyMap<string, Registry>;

  private constructor(hub: Registry | undefined, upstreams: ReadonlyMap<string, Registry>) {
    this.#hub = hub;
    this.#upstreams = upstreams;
  }

  /**
   * Connects to nobody yet.
   * @throws ConfigError; DistributionError PLAIN_HTTP_REFUSED, BASE_URL_INVALID
   */
  static async open(
    config: Pick<AgentConfig, 'hub' | 'upstreams'>,
    modules: {
      metrics: FetchMetrics;
      budget?: RateBudget | undefined;
      userAgent: string;
      /** What this node shows to read a repository of the hub. */
      hubAuthorization?: (repository: string) => string | undefined;
    },
  ): Promise<Registries> {
    const { url, allowPlainHttp, caFile, redirectHosts } = config.hub;
    const own = { allowPlainHttp, caFile, redirectHosts, path: 'hub' };
    const { hubAuthorization: authorizationOf, ...rest } = modules;
    const hub =
      url === undefined
        ? undefined
        : await openRegistry('hub', { url, ...own }, { ...rest, authorizationOf });
    const upstreams = await Promise.all(
      config.upstreams.map(
        async (upstream, index) =>
          [
            canonicalHost(upstream.name),
            await openRegistry('upstream', { ...upstream, path: `upstreams[${index}]` }, rest),
          ] as const,
      ),
    );
    return new Registries(hub, new Map(upstreams));
  }

  get hubSource(): HubSource | undefined {
    return this.#hub?.source;
  }

  upstreamSource(namespace: string): HubSource | undefined {
    return this.#upstreams.get(namespace)?.source;
  }

  originOf(target: Target): Origin {
    const found = target.kind === 'hub' ? this.#hub : this.#upstreams.get(target.namespace);
    return found?.origin ?? noOrigin;
  }

  async close(): Promise<void> {
    const all = [...this.#upstreams.values(), ...(this.#hub === undefined ? [] : [this.#hub])];
    await Promise.all(all.map(({ client }) => client.close()));
  }
}

/** Which names in requests mean the hub or an upstream; the hub tells of more names. */
export function namespaceRules(
  config: Pick<AgentConfig, 'hub' | 'upstreams'>,
  learned: { names(): readonly string[]; upstreams(): readonly UpstreamName[] },
): NamespaceRules {
  const url = config.hub.url === undefined ? undefined : new URL(config.hub.url);
  const configured = [...config.hub.names, ...(url === undefined ? [] : [url.host])];
  const port = url === undefined || url.port === '' ? undefined : Number(url.port);
  return {
    hubNames: () => [...configured, ...learned.names()].slice(0, HUB_NAMES_MAX),
    hubPort: port,
    upstreams: config.upstreams.map(({ name, alias }) => ({
      namespace: canonicalHost(name),
      alias,
    })),
    hubUpstreams: () => learned.upstreams().map(({ name, alias }) => ({ namespace: name, alias })),
  };
}

/** The text of an optional file that the configuration names. @throws ConfigError */
export async function readConfigured(
  path: string | undefined,
  key: string,
): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (err) {
    const message = `${path} cannot be read: ${messageOf(err)}`;
    throw new ConfigError('agent configuration', [{ path: key, message, origin: undefined }]);
  }
}

/**
 * The PEM certificates of an optional file that the configuration names. TLS itself takes any text
 * for a list of none.
 * @throws ConfigError
 */
export async function readCertificates(
  path: string | undefined,
  key: string,
): Promise<string | undefined> {
  const text = await readConfigured(path, key);
  if (text === undefined || isCertificate(text)) return text;
  const message = `${path} holds no PEM certificate; it begins with -----BEGIN CERTIFICATE-----`;
  throw new ConfigError('agent configuration', [{ path: key, message, origin: undefined }]);
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0;
  } catch {
    return false;
  }
}

async function openRegistry(
  kind: 'hub' | 'upstream',
  options: {
    url: string;
    allowPlainHttp: boolean;
    caFile?: string | undefined;
    tokenHosts?: readonly string[];
    redirectHosts: readonly string[];
    /** Where in the configuration this registry stands. */
    path: string;
  },
  modules: {
    metrics: FetchMetrics;
    budget?: RateBudget | undefined;
    userAgent: string;
    authorizationOf?: ((repository: string) => string | undefined) | undefined;
  },
): Promise<Registry> {
  const ca = await readCertificates(options.caFile, `${options.path}.caFile`);
  const known = wellKnownHosts(options.url);
  const client = new RegistryClient({
    baseUrl: options.url,
    allowPlainHttp: options.allowPlainHttp,
    userAgent: modules.userAgent,
    tokenHosts: [...(options.tokenHosts ?? []), ...known.tokenHosts],
    redirectHosts: [...options.redirectHosts, ...known.redirectHosts],
    redirectSetting: `${options.path}.redirectHosts`,
    ...(ca === undefined ? {} : { ca }),
  });
  const { metrics, budget, authorizationOf } = modules;
  const source = new RegistrySource({ kind }, { client, metrics, budget, authorizationOf });
  return { client, source, origin: new RegistryOrigin(client) };
}
