import type { Logger } from '../../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../../proto/ops/metrics.ts';
import type { SigningKey } from '../../../proto/trust/keys.ts';
import { leavesDesk } from '../hub-desk.ts';
import { HubLeaves } from '../hub-leaves.ts';
import type { OpenPullThrough } from '../open-pull-through.ts';
import { createProvisionalMetrics } from './metrics.ts';
import { Provisional } from './provisional.ts';
import { SharedProvisional } from './shared-provisional.ts';

type Modules = {
  pull: OpenPullThrough;
  signingKey: () => SigningKey;
  metrics: MetricsRegistry;
  logger: Logger;
};

/** What members are told of blobs on their way, to this hub or to others that it can ask. */
export function openProvisional({ pull, signingKey, logger, ...modules }: Modules) {
  const metrics = createProvisionalMetrics(modules.metrics);
  const { ingests, others, namedSize, pullThrough } = pull;
  const own = new Provisional({}, { ingests, signingKey, metrics });
  const { upstreams } = pullThrough;
  others?.hubs.answerAt(leavesDesk({ upstreams, provisional: own }));
  const leaves = others && new HubLeaves(others);
  return new SharedProvisional({ own, others: leaves, namedSize, metrics, logger });
}
