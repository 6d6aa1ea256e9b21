import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { joinToken, Programs, type Program } from '../rig/programs.ts';

export const HUB_NAME = 'hub.demo';
const ADMIN_PASSWORD = 'demo';
const HUB_PORT = 7400;
/** Agent n begins at 7400 + 10 n: mirror, ops and libp2p in the order of the default ports. */
const PORT_STEP = 10;

export type Cluster = {
  hub: Program;
  agents: Program[];
  credentials: { username: string; password: string };
  stop: () => Promise<void>;
};

/**
 * Starts a hub and `count` agents on loopback with data and logs under `folder`; all are ready
 * when this resolves. None outlives this process.
 *
 * @throws Error with the end of the log of the program that did not start; the reason of `signal`
 */
export async function startCluster(
  folder: string,
  count: number,
  { signal }: { signal: AbortSignal },
): Promise<Cluster> {
  const programs = new Programs(folder, { signal });
  try {
    const hub = await startHub(programs, folder);
    const tokenFile = path.join(folder, 'join-token');
    const token = await joinToken(hub.url, ADMIN_PASSWORD, count, { signal });
    await writeFile(tokenFile, token, { mode: 0o600 });
    const agents = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        startAgent(programs, folder, i + 1, { url: hub.url, joinTokenFile: tokenFile }),
      ),
    );
    const stop = (): Promise<void> => programs.stopAll();
    return { hub, agents, stop, credentials: { username: 'admin', password: ADMIN_PASSWORD } };
  } catch (err) {
    await programs.stopAll();
    throw err;
  }
}

function startHub(programs: Programs, folder: string): Promise<Program> {
  return programs.start({
    kind: 'hub',
    name: 'hub',
    from: HUB_PORT,
    configOf: ({ port, ops }) => ({
      http: { listen: [`127.0.0.1:${port}`] },
      ops: { listen: [`127.0.0.1:${ops}`] },
      hub: { dataDir: path.join(folder, 'hub', 'data'), names: [HUB_NAME] },
      access: { adminPassword: ADMIN_PASSWORD },
    }),
  });
}

function startAgent(
  programs: Programs,
  folder: string,
  number: number,
  hub: { url: string; joinTokenFile: string },
): Promise<Program> {
  const name = `agent-${number}`;
  return programs.start({
    kind: 'agent',
    name,
    from: HUB_PORT + PORT_STEP * number,
    configOf: ({ port, ops, swarm }) => ({
      mirror: { listen: [`127.0.0.1:${port}`] },
      ops: { listen: [`127.0.0.1:${ops}`] },
      swarm: { listen: [`127.0.0.1:${swarm}`], lanePort: 0 },
      hub: { ...hub, names: [HUB_NAME], node: name },
      store: { dataDir: path.join(folder, name, 'data') },
    }),
  });
}
