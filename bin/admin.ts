import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { checkServerIdentity, createSecureContext, getCACertificates } from 'node:tls';
import { Agent } from 'undici';
import { knownPassword } from '../hub/access/admin-password.ts';
import { HubOptions, type HubConfig } from '../hub/options.ts';
import type { AdminRequest } from '../proto/ops/admin-commands.ts';
import { askAdministration } from '../proto/ops/admin-request.ts';
import type { AdminWish } from '../proto/ops/cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import type { AdminTarget } from '../proto/ops/join-token-request.ts';
import { formatListen, parseListen } from '../proto/ops/listen.ts';

/**
 * Asks the running hub of this configuration, as its administrator.
 * @throws ConfigError; AdminError; AccessError for a password that cannot be used
 */
export async function askHub(
  wish: AdminWish,
  request: AdminRequest,
  env: Record<string, string | undefined>,
): Promise<unknown> {
  const config = loadConfig(HubOptions, { ...wish, env, kind: 'hub' });
  return withTarget(config, wish.url, (target) => askAdministration(target, request));
}

/** The first line of a file, or of the standard input. */
export async function readPassword(file: string): Promise<string> {
  const whole = file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
  return whole.split(/\r?\n/, 1)[0] ?? '';
}

/** Runs `ask` with what it takes to reach the hub of this configuration as its administrator. */
export async function withTarget<T>(
  config: HubConfig,
  given: string | undefined,
  ask: (target: AdminTarget) => Promise<T>,
): Promise<T> {
  const username = config.access.adminUsername;
  const password = await knownPassword(config.access, config.hub.dataDir);
  const { host, port } = parseListen(config.http.listen[0] ?? ':7400');
  const own = { host: host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host, port };
  const scheme = config.tls.certFile === undefined ? 'http' : 'https';
  const url = given ?? config.hub.externalUrl ?? `${scheme}://${formatListen(own)}`;
  const dispatcher = await dispatcherFor(config.tls.certFile);
  try {
    return await ask({ url, username, password, dispatcher });
  } finally {
    await dispatcher.destroy();
  }
}

/**
 * Believes the certificate that this hub is configured with under any name, since the hub is
 * asked at loopback and its certificate says another name; all others as usual.
 */
async function dispatcherFor(certFile: string | undefined): Promise<Agent> {
  const own = certFile === undefined ? undefined : await certificateOf(certFile);
  if (own === undefined) return new Agent();
  const secureContext = createSecureContext({
    ca: [...getCACertificates('default'), own.toString()],
    allowPartialTrustChain: true,
  });
  return new Agent({
    connect: {
      secureContext,
      checkServerIdentity: (name, peer) =>
        peer.raw.equals(own.raw) ? undefined : checkServerIdentity(name, peer),
    },
  });
}

/** The first certificate of a PEM file; undefined when this user or machine cannot read it. */
async function certificateOf(file: string): Promise<X509Certificate | undefined> {
  try {
    return new X509Certificate(await readFile(file));
  } catch {
    return undefined;
  }
}
