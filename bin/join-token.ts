import { HubOptions } from '../hub/options.ts';
import type { JoinTokenWish } from '../proto/ops/cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { requestJoinToken } from '../proto/ops/join-token-request.ts';
import { withTarget } from './admin.ts';
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
  const { joinTokenLife } = config.fleet;
  const expiresInMs = wish.expires === undefined ? joinTokenLife : parseDuration(wish.expires);
  const wanted = { uses: wish.uses, expiresInMs };
  return withTarget(config, wish.url, (target) => requestJoinToken(target, wanted));
}
