import { isDigest } from '../proto/oci/digest.ts';
import type { Digest } from '../proto/oci/digest.ts';
import { parseRepository } from '../proto/oci/name.ts';
import { ConfigError } from '../proto/ops/errors.ts';
import type { ConfigProblem } from '../proto/ops/errors.ts';
import { messageOf } from '../proto/std/errors.ts';
import { resolveNamespace } from './mirror/namespace.ts';
import type { NamespaceRules } from './mirror/namespace.ts';
import type { AgentConfig } from './options.ts';
import { placeOf } from './store/pins.ts';
import type { PinRules } from './store/pins.ts';

const ROUTE = '/manifests/latest';

/**
 * What `store.pinned` means, read as the mirror reads names in requests.
 * @throws ConfigError for names of no configured registry, and for water marks the wrong way round
 */
export function pinRules(config: Pick<AgentConfig, 'store'>, rules: NamespaceRules): PinRules {
  const { pinned, highWater, lowWater } = config.store;
  const problems: ConfigProblem[] = [];
  const report = (path: string, message: string): void => {
    problems.push({ path, message, origin: undefined });
  };
  if (lowWater > highWater) {
    report('store.lowWater', `must not be above store.highWater, which is ${highWater}`);
  }
  const digests = new Set<Digest>();
  const places = new Set<string>();
  for (const [index, name] of pinned.entries()) {
    if (isDigest(name)) digests.add(name);
    else {
      const place = placeNamed(name, rules);
      if (typeof place === 'string') places.add(place);
      else report(`store.pinned[${index}]`, place.problem);
    }
  }
  if (problems.length > 0) throw new ConfigError('agent configuration', problems);
  return { digests, places };
}

function placeNamed(name: string, rules: NamespaceRules): string | { problem: string } {
  const found = resolveNamespace(`/v2/${name}${ROUTE}`, rules);
  if (found.kind === 'invalid') return { problem: found.reason };
  if (found.kind === 'unknown') {
    return { problem: `"${name}" is of no registry in upstreams or hub.names` };
  }
  try {
    const text = found.path.slice('/v2/'.length, -ROUTE.length);
    return placeOf({ namespace: found.target.namespace, repository: parseRepository(text) });
  } catch (err) {
    return { problem: messageOf(err) };
  }
}
