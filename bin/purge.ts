import { HubOptions } from '../hub/options.ts';
import { API_BASE } from '../proto/hubapi/admin.ts';
import { checkBody } from '../proto/hubapi/body.ts';
import { PurgeList } from '../proto/hubapi/purges.ts';
import type { AdminRequest } from '../proto/ops/admin-commands.ts';
import { askAdministration } from '../proto/ops/admin-request.ts';
import type { PurgeOutcome, PurgeWish } from '../proto/ops/cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { PURGE_POLL_MS, PURGE_WAIT_MS } from '../proto/ops/constants.ts';
import { sleep } from '../proto/std/abort.ts';
import { withTarget } from './admin.ts';

const PATH = `${API_BASE}/purges`;

/**
 * Has the running hub of this configuration take a digest down, or lift that, and waits for its
 * nodes; `unreached` have not acted on it when the time is up.
 * @throws ConfigError; AdminError; AccessError for a password that cannot be used
 */
export function purge(
  { digest, lift, waitMs = PURGE_WAIT_MS, ...wish }: PurgeWish,
  env: Record<string, string | undefined>,
): Promise<PurgeOutcome> {
  const config = loadConfig(HubOptions, { ...wish, env, kind: 'hub' });
  const begin: AdminRequest = lift
    ? { method: 'DELETE', path: `${PATH}/${encodeURIComponent(digest)}` }
    : { method: 'POST', path: PATH, body: { digest } };
  return withTarget(config, wish.url, async (target) => {
    const ask = async (request: AdminRequest): Promise<PurgeList> =>
      checkBody(PurgeList, await askAdministration(target, request));
    const { known = true, ...first } = await ask(begin);
    let { unreached } = first;
    const endMs = performance.now() + waitMs;
    while (unreached.length > 0 && performance.now() < endMs) {
      // oxlint-disable-next-line no-await-in-loop -- one question after the other
      await sleep(PURGE_POLL_MS);
      // oxlint-disable-next-line no-await-in-loop -- one question after the other
      ({ unreached } = await ask({ method: 'GET', path: PATH }));
    }
    return { unreached, known };
  });
}
