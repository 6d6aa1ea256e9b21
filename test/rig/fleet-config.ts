import path from 'node:path';
import { AGENT_OPS_PORT, HUB_OPS_PORT, HUB_PORT, MIRROR_PORT } from './flotilla.ts';
import type { ConfigFile } from './flotilla.ts';

/** The host in image names that means the hub of the test network. */
export const HUB_NAME = 'hub.test';
export const ADMIN = { username: 'admin', password: 'correct horse battery' };

const LOOPBACKS = ['127.0.0.1', '[::1]'];

/** A hub that listens on every address of its machine, over plain http. */
export function hubConfig(options: { dataFolder: string; externalUrl: string }): ConfigFile {
  return {
    log: { level: 'debug' },
    http: { listen: [`:${HUB_PORT}`] },
    ops: { listen: LOOPBACKS.map((host) => `${host}:${HUB_OPS_PORT}`) },
    hub: {
      names: [HUB_NAME],
      externalUrl: options.externalUrl,
      dataDir: options.dataFolder,
    },
    // The nodes of the test network; behind the proxy their own addresses are not seen.
    fleet: { addressCidrs: ['10.77.0.0/24', 'fd00::/8'] },
    access: { adminUsername: ADMIN.username, adminPassword: ADMIN.password },
  };
}

/** An agent that reaches the hub at a URL and joins with the token in a file. */
export function agentConfig(options: {
  node: string;
  dataFolder: string;
  hubUrl: string;
  address: string;
}): ConfigFile {
  return {
    log: { level: 'debug' },
    mirror: { listen: LOOPBACKS.map((host) => `${host}:${MIRROR_PORT}`) },
    ops: { listen: LOOPBACKS.map((host) => `${host}:${AGENT_OPS_PORT}`) },
    hub: {
      url: options.hubUrl,
      names: [HUB_NAME],
      allowPlainHttp: true,
      joinTokenFile: path.join(options.dataFolder, '..', 'join-token'),
      node: options.node,
    },
    swarm: { addresses: [options.address] },
    store: { dataDir: options.dataFolder },
  };
}
