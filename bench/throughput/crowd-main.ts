// Agents without a mirror, many in one process, each with an open link to one agent: argv is the
// hub, a file with a join token, a folder, how many, and the name of that agent's node.
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { openFleet, startSwarm } from '../../agent/joining.ts';
import { AgentOptions } from '../../agent/options.ts';
import { readBuildInfo } from '../../proto/ops/build-info.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { createLogger } from '../../proto/ops/logger.ts';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';

const LINK_TIMEOUT_MS = 60_000;

const [url = '', joinTokenFile = '', folder = '', count = '0', target = ''] = process.argv.slice(2);
const content = { find: () => undefined, small: () => Promise.resolve(undefined) };
const relay = { publicGrant: () => undefined, tagStatement: () => undefined };

async function join(node: string): Promise<void> {
  const dataDir = path.join(folder, node);
  await mkdir(dataDir, { recursive: true });
  const sections = {
    hub: { url, joinTokenFile, node },
    swarm: { listen: ['127.0.0.1:0'], lanePort: 0 },
    store: { dataDir },
  };
  const config = loadConfig(AgentOptions, { text: JSON.stringify(sections), source: '', env: {} });
  const logger = createLogger({ level: 'warn', name: node });
  const metrics = new MetricsRegistry({ prefix: 'flotilla_agent_' });
  const modules = { logger, metrics, build: readBuildInfo() };
  const fleet = await openFleet(config, modules);
  const swarm =
    fleet &&
    (await startSwarm(config, { ...modules, fleet, content, relay, uploadRate: undefined }));
  if (swarm === undefined) throw new Error(`${node} is in no swarm`);
  fleet?.start(swarm.presence);
  const signal = AbortSignal.timeout(LINK_TIMEOUT_MS);
  for (;;) {
    const member = fleet?.members.list().find((known) => known.node === target);
    if (member !== undefined) {
      // oxlint-disable-next-line no-await-in-loop -- the loop ends here
      await swarm.link(member, { signal });
      return;
    }
    // oxlint-disable-next-line no-await-in-loop -- until the hub has told
    await changed(signal, (listener) => fleet?.members.onChange(listener));
  }
}

function changed(
  signal: AbortSignal,
  listen: (listener: () => void) => Disposable | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const listening = listen(() => {
      listening?.[Symbol.dispose]();
      resolve();
    });
    signal.addEventListener('abort', () => reject(new Error(`${target} was not found`)));
  });
}

for (let i = 1; i <= Number(count); i++) {
  // oxlint-disable-next-line no-await-in-loop -- hosts refuse a rush of connections
  await join(`crowd-${i}`);
}
process.stdout.write('ready\n');
