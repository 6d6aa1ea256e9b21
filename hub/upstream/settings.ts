import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { proxiesOf, type ProxyRule } from '../../proto/distribution/proxies.ts';
import type { Credentials } from '../../proto/distribution/tokens.ts';
import { wellKnownHosts } from '../../proto/distribution/well-known.ts';
import { canonicalHost, segmentOf } from '../../proto/oci/name.ts';
import { ConfigError, type ConfigProblem } from '../../proto/ops/errors.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { UpstreamConfig } from './options.ts';
import type { UpstreamNames, UpstreamPolicy } from './port.ts';
import { presetUrl } from './presets.ts';

/** One upstream with all that its settings stand for. */
export type UpstreamSettings = {
  names: UpstreamNames;
  policy: UpstreamPolicy;
  url: string;
  allowPlainHttp: boolean;
  credentials: readonly Credentials[];
  ca: string | undefined;
  proxies: ProxyRule | undefined;
  tokenHosts: readonly string[];
  redirectHosts: readonly string[];
  allowedNetworks: readonly string[];
  /** Where in the configuration this upstream stands. */
  path: string;
  connections: number;
  bytesPerSecond: number | undefined;
  /** Percent. */
  reserve: number;
  ownLimit: { pulls: number; windowMs: number } | undefined;
};

type Environment = Readonly<Record<string, string | undefined>>;

/** Reads what the settings of all upstreams name. @throws ConfigError */
export async function readUpstreams(
  upstreams: readonly UpstreamConfig[],
  env: Environment,
): Promise<UpstreamSettings[]> {
  const problems: ConfigProblem[] = [];
  const refuse = (path: string, message: string): void =>
    void problems.push({ path, message, origin: undefined });
  const settings = await Promise.all(
    upstreams.map((one, index) => settingsOf(one, `upstreams[${index}]`, env, refuse)),
  );
  if (problems.length > 0) throw new ConfigError('hub configuration', problems);
  return settings;
}

async function settingsOf(
  config: UpstreamConfig,
  path: string,
  env: Environment,
  refuse: (path: string, message: string) => void,
): Promise<UpstreamSettings> {
  const host = canonicalHost(config.name);
  const url = config.url ?? presetUrl(host);
  const known = wellKnownHosts(url);
  const ca = await textOf(config.caFile, `${path}.caFile`, refuse);
  if (ca !== undefined && !isCertificate(ca)) {
    refuse(
      `${path}.caFile`,
      'holds no PEM certificate; it begins with -----BEGIN CERTIFICATE-----',
    );
  }
  const credentials = await Promise.all(
    config.credentials.map(async ({ username, password, passwordFile }, i) => {
      const key = `${path}.credentials[${i}].passwordFile`;
      const text = password ?? (await textOf(passwordFile, key, refuse))?.trim() ?? '';
      if (password === undefined && text === '') refuse(key, 'has no password');
      return { username, password: text };
    }),
  );
  const { alias, visibility = credentials.length === 0 ? 'public' : 'private' } = config;
  return {
    names: { name: segmentOf(host), host, alias, visibility },
    policy: policyOf(config, url),
    url,
    allowPlainHttp: config.allowPlainHttp,
    credentials,
    ca,
    proxies: proxiesOf({ proxy: config.proxy, noProxy: config.noProxy }, env),
    tokenHosts: [...config.tokenHosts, ...known.tokenHosts],
    redirectHosts: [...config.redirectHosts, ...known.redirectHosts],
    allowedNetworks: config.allowedNetworks,
    path,
    connections: config.connections,
    bytesPerSecond: config.bandwidth,
    reserve: config.reserve,
    ownLimit: config.rateLimit && {
      pulls: config.rateLimit.pulls,
      windowMs: config.rateLimit.window,
    },
  };
}

function policyOf(config: UpstreamConfig, url: string): UpstreamPolicy {
  const { freshness: kind } = config;
  const plain = url.startsWith('http:');
  return {
    repositories: config.repositories,
    freshness: kind === 'ttl' ? { kind, ms: config.ttl } : { kind },
    staleMaxAgeMs: config.staleMaxAge,
    negativeMs: config.negativeTtl,
    onDeleted: config.onDeleted,
    provisional: config.provisional ?? (plain ? 'swarm-only' : 'readers'),
  };
}

async function textOf(
  file: string | undefined,
  key: string,
  refuse: (path: string, message: string) => void,
): Promise<string | undefined> {
  if (file === undefined) return undefined;
  try {
    return await readFile(file, 'utf8');
  } catch (err) {
    refuse(key, `${file} cannot be read: ${messageOf(err)}`);
    return undefined;
  }
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0;
  } catch {
    return false;
  }
}
