import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { HubOptions } from '../hub/options.ts';
import type { JoinTokenWish } from '../proto/ops/cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { requestJoinToken } from '../proto/ops/join-token-request.ts';
import { formatListen, parseListen } from '../proto/ops/listen.ts';
import { parseDuration } from '../proto/std/duration.ts';

/**
 * Asks the running hub of this configuration for a join token, as its administrator.
 * @throws ConfigError; AdminError; errors of node:fs when the password cannot be read
 */
export async function createJoinToken(
  wish: JoinTokenWish,
  env: Record<string, string | undefined>,
): Promise<string> {
  const config = loadConfig(HubOptions, { ...wish, env, kind: 'hub' });
  const { adminUsername, adminPassword, adminPasswordFile } = config.access;
  const file = adminPasswordFile ?? path.join(config.hub.dataDir, 'admin-password');
  const password = adminPassword ?? (await readFile(file, 'utf8')).trim();
  const { host, port } = parseListen(config.http.listen[0] ?? ':7400');
  const own = { host: host === '::' || host === '0.0.0.0' ? '127.0.0.1' : host, port };
  const scheme = config.tls.certFile === undefined ? 'http' : 'https';
  const url = wish.url ?? config.hub.externalUrl ?? `${scheme}://${formatListen(own)}`;
  const wanted = { uses: wish.uses, expiresInMs: parseDuration(wish.expires) };
  return requestJoinToken({ url, username: adminUsername, password }, wanted);
}
