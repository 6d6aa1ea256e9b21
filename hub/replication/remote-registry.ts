import { readFile } from 'node:fs/promises';
import { proxiesOf } from '../../proto/distribution/proxies.ts';
import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { RegistryPeer } from '../../proto/distribution/registry-peer.ts';
import { Transport } from '../../proto/distribution/transport.ts';
import { wellKnownHosts } from '../../proto/distribution/well-known.ts';
import type { RegistryConfig } from './options.ts';

/** Connections to a configured registry, for one run of a rule. */
export type RemoteRegistry = {
  client: RegistryClient;
  peer: RegistryPeer;
} & AsyncDisposable;

/**
 * Reads what the configuration names, so that secrets may change without a restart, and connects to
 * nobody yet.
 * @throws DistributionError PLAIN_HTTP_REFUSED, BASE_URL_INVALID; errors of node:fs
 */
export async function openRemote(
  config: RegistryConfig,
  modules: { env: Readonly<Record<string, string | undefined>>; userAgent: string },
): Promise<RemoteRegistry> {
  const { name, url: baseUrl, username, allowPlainHttp, caFile } = config;
  const password =
    config.password ??
    (config.passwordFile && (await readFile(config.passwordFile, 'utf8')).trim());
  const known = wellKnownHosts(baseUrl);
  const { proxy, noProxy, allowedNetworks } = config;
  const transport = new Transport({
    baseUrl,
    allowPlainHttp,
    userAgent: modules.userAgent,
    credentials:
      username === undefined || password === undefined ? undefined : { username, password },
    ca: caFile === undefined ? undefined : await readFile(caFile, 'utf8'),
    proxies: proxiesOf({ proxy, noProxy }, modules.env),
    addresses: { allowedNetworks, setting: `allowedNetworks of the registry ${name}` },
    tokenHosts: [...config.tokenHosts, ...known.tokenHosts],
    redirectHosts: [...config.redirectHosts, ...known.redirectHosts],
    redirectSetting: `redirectHosts of the registry ${name}`,
  });
  return {
    client: new RegistryClient(transport),
    peer: new RegistryPeer({ transport }),
    [Symbol.asyncDispose]: () => transport.close(),
  };
}
