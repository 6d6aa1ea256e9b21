import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { Chores } from '../catalog/chores.ts';
import { KEEP_EVERY_MS } from './constants.ts';
import { AgentDesk } from './desk.ts';
import { OrderKeeper } from './keeper.ts';
import { createPrefetchMetrics } from './metrics.ts';
import { Orders } from './orders.ts';
import { Policies } from './policies.ts';
import type { Images, OrderFleet, OrderRights } from './ports.ts';
import type { PrefetchStore } from './store.ts';

/** Having images on nodes before they are asked for. */
export type Prefetch = { desk: AgentDesk; orders: Orders; policies: Policies; images: Images };

/** Begins to look after what is ordered. `grantLifeMs`: what the fleet gives grants for. */
export function startPrefetch(
  options: { grantLifeMs: number; now?: () => number },
  modules: {
    store: PrefetchStore;
    images: Images;
    rights: OrderRights;
    fleet: OrderFleet;
    chores: Pick<Chores, 'add'>;
    metrics: MetricsRegistry;
    logger: Logger;
  },
): Prefetch {
  const { grantLifeMs, now = Date.now } = options;
  const { chores, images, ...rest } = modules;
  const metrics = createPrefetchMetrics(modules.metrics);
  const parts = { ...rest, metrics };
  const desk = new AgentDesk({ grantLifeMs, now }, parts);
  const changed = (): void => desk.changed();
  const orders = new Orders({ now }, { ...parts, images, changed });
  const policies = new Policies({ now }, { ...parts, images, orders });
  const keeper = new OrderKeeper({ now }, { ...parts, changed });
  const run = async (signal: AbortSignal): Promise<void> => {
    await policies.look(signal);
    await keeper.look(signal);
  };
  chores.add({ name: 'prefetch', everyMs: KEEP_EVERY_MS, run });
  return { desk, orders, policies, images };
}
