import type { BuildInfo } from '../proto/ops/build-info.ts';
import type { Logger } from '../proto/ops/logger.ts';
import type { MetricsRegistry } from '../proto/ops/metrics.ts';
import type { OpenCatalog } from './catalog/open-catalog.ts';
import { KyselyBudgets, type UpstreamBudgetTables } from './catalog/upstream-budgets.ts';
import type { Fleet } from './fleet/fleet.ts';
import type { HubConfig } from './options.ts';
import type { Coming } from './room.ts';
import { openUpstreams } from './upstream/open.ts';
import { openPullThrough, type OpenPullThrough } from './upstream/open-pull-through.ts';
import type { Upstreams } from './upstream/port.ts';
import { openProvisional } from './upstream/provisional/open.ts';

type PullParts = Parameters<typeof openPullThrough>;

/** What asks the configured upstreams; undefined for a hub without any. */
export async function openAsking(
  { upstreams }: Pick<HubConfig, 'upstreams'>,
  starting: AsyncDisposableStack,
  modules: { catalog: OpenCatalog; metrics: MetricsRegistry; logger: Logger; build: BuildInfo },
): Promise<Upstreams | undefined> {
  if (upstreams.length === 0) return undefined;
  const { catalog, metrics, logger, build } = modules;
  const store = new KyselyBudgets({ db: catalog.db.withTables<UpstreamBudgetTables>() });
  const opened = await openUpstreams(upstreams, { store, metrics, logger, build: build.version });
  starting.defer(() => opened.close());
  return opened.upstreams;
}

/** Pull-through of the configured upstreams, and what members are told of blobs on their way. */
export async function openPulling(
  options: PullParts[0],
  starting: AsyncDisposableStack,
  modules: Omit<PullParts[1], 'upstreams'> & {
    upstreams: Upstreams | undefined;
    coming: Coming;
    fleet: Fleet;
  },
): Promise<OpenPullThrough | undefined> {
  const { upstreams, coming, fleet, metrics, logger } = modules;
  if (upstreams === undefined) return undefined;
  const pull = await openPullThrough(options, { ...modules, upstreams });
  starting.defer(() => pull.close());
  const signingKey = () => fleet.statementKey();
  coming.provisional = openProvisional({ pull, signingKey, metrics, logger });
  coming.pull = pull;
  return pull;
}
