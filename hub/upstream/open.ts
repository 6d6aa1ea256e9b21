import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import type { Lookup } from '../../proto/distribution/addresses.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { OutageLog } from '../../proto/ops/outage-log.ts';
import { sleep } from '../../proto/std/abort.ts';
import { RateBudget } from '../../proto/std/rate-budget.ts';
import { Breaker } from './breaker.ts';
import type { BudgetStore } from './budget-store.ts';
import { Budget } from './budget.ts';
import { createUpstreamClientMetrics, type UpstreamReading } from './client-metrics.ts';
import { UpstreamClient } from './client.ts';
import type { UpstreamConfig } from './options.ts';
import { Sender, type SenderClock } from './sender.ts';
import { readUpstreams, type UpstreamSettings } from './settings.ts';
import { Slots } from './slots.ts';
import { UpstreamSet } from './upstreams.ts';

export type UpstreamModules = {
  store: BudgetStore;
  metrics: MetricsRegistry;
  logger: Logger;
  /** Version of this program, which upstreams are told. */
  build: string;
  /** Where proxies are named; process.env. */
  env?: Readonly<Record<string, string | undefined>>;
  clock?: SenderClock;
  /** How names of other hosts are looked up; as the system does. */
  lookup?: Lookup;
};

export type OpenUpstreams = { upstreams: UpstreamSet; close: () => Promise<void> };

const CLOCK: SenderClock = { now: () => Date.now(), random: Math.random, sleep };
const NO_ACCOUNT = '';

/** Makes what asks the configured upstreams, and asks none yet. @throws ConfigError */
export async function openUpstreams(
  config: readonly UpstreamConfig[],
  modules: UpstreamModules,
): Promise<OpenUpstreams> {
  const all = await readUpstreams(config, modules.env ?? process.env);
  const readings: (() => UpstreamReading)[] = [];
  const metrics = createUpstreamClientMetrics(modules.metrics, () =>
    readings.map((reading) => reading()),
  );
  const opened = all.map((settings) => openOne(settings, { ...modules, ownMetrics: metrics }));
  readings.push(...opened.map(({ reading }) => reading));
  const upstreams = new UpstreamSet(opened.map(({ entry }) => entry));
  const close = async (): Promise<void> => {
    await Promise.all(opened.flatMap(({ clients }) => clients.map((client) => client.close())));
  };
  return { upstreams, close };
}

function openOne(
  settings: UpstreamSettings,
  modules: UpstreamModules & { ownMetrics: ReturnType<typeof createUpstreamClientMetrics> },
) {
  const { names, policy, reserve, ownLimit, connections, bytesPerSecond } = settings;
  const { store, logger, ownMetrics: metrics, clock = CLOCK } = modules;
  const { now, random } = clock;
  const clients = clientsOf(settings, modules);
  const accounts = [...clients.keys()];
  const budget = new Budget(
    { upstream: names.name, accounts, reserve, ownLimit, now, random },
    { store },
  );
  const breaker = new Breaker({ now, random });
  const slots = new Slots({ connections, reserve });
  const outage = new OutageLog({ what: `upstream ${names.host}`, now }, { logger });
  const sender = new Sender(
    { name: names.host },
    { clients, budget, breaker, slots, metrics, outage, clock },
  );
  const bandwidth =
    bytesPerSecond === undefined ? undefined : new RateBudget({ bytesPerSecond, now });
  const { name, host } = names;
  const { repositories } = policy;
  const upstream = new UpstreamClient(
    { name, host, repositories },
    { sender, budget, bandwidth, metrics, clock },
  );
  const reading = (): UpstreamReading => ({
    upstream: names.host,
    breaker: breaker.state,
    requests: slots.used,
    budgets: budget.readings(),
  });
  return { entry: { names, policy, upstream }, clients: [...clients.values()], reading };
}

/** One client for each account, since tokens are those of an account. */
function clientsOf(
  settings: UpstreamSettings,
  { build, lookup }: Pick<UpstreamModules, 'build' | 'lookup'>,
): Map<string, RegistryClient> {
  const { url, allowPlainHttp, ca, tokenHosts, redirectHosts, connections, path } = settings;
  const { allowedNetworks, proxies } = settings;
  const setting = `${path}.allowedNetworks`;
  const common = {
    baseUrl: url,
    allowPlainHttp,
    ca,
    tokenHosts,
    redirectHosts,
    redirectSetting: `${path}.redirectHosts`,
    connections,
    addresses: { allowedNetworks, setting, lookup },
    proxies,
    userAgent: `flotilla-hub/${build}`,
  };
  const { credentials } = settings;
  const own = credentials.map(
    (one) => [one.username, new RegistryClient({ ...common, credentials: one })] as const,
  );
  return new Map(own.length > 0 ? own : [[NO_ACCOUNT, new RegistryClient(common)]]);
}
