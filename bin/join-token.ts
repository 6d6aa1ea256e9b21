import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { checkServerIdentity, createSecureContext, getCACertificates } from 'node:tls';
import { Agent } from 'undici';
import { knownPassword } from '../hub/access/admin-password.ts';
import { HubOptions } from '../hub/options.ts';
import type { JoinTokenWish } from '../proto/ops/cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { requestJoinToken } from '../proto/ops/join-token-request.ts';
import { formatListen, parseListen } from '../proto/ops/listen.ts';
import { parseDuration } from '../proto/std/duration.ts';

/**
 * Asks the running hub of this configuration for a join token, as its administrator.
 * @throws ConfigError; AdminError; AccessError for a password that cannot be used
 */
export async function createJoinToken(
  wish: JoinTokenWish,
  env: Record<string, string | undefined>,
): Promise<string> {
  const config = loadConfig(HubOptions, { ...wish, env, kind: 'hub' });
  const username = config.access.adminUsername;
  const password = await knownPassword(config.access, config.hub.dataDir);
  const { host, port } = parseListen(config.http.listen[0] ?? ':7400');
  const own = { host: host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host, port };
  const scheme = config.tls.certFile === undefined ? 'http' : 'https';
  const url = wish.url ?? config.hub.externalUrl ?? `${scheme}://${formatListen(own)}`;
  const { joinTokenLife } = config.fleet;
  const expiresInMs = wish.expires === undefined ? joinTokenLife : parseDuration(wish.expires);
  const wanted = { uses: wish.uses, expiresInMs };
  const dispatcher = await dispatcherFor(config.tls.certFile);
  try {
    return await requestJoinToken({ url, username, password, dispatcher }, wanted);
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
