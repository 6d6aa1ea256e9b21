import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { request } from 'undici';
import { missingDockerRegistry, startDockerRegistry } from '../../test/rig/docker-registry.ts';
import { Programs } from '../rig/programs.ts';
import type { Target } from './load.ts';
import type { RegistryBenchOptions } from './options.ts';

const FIRST_PORT = 7600;
const PASSWORD = 'bench';
const LISTENING = '0A';
const HERE = ['127.0.0.1', 'localhost', '[::1]'];

/** A registry that is measured. */
export type Side = {
  name: 'us' | 'other';
  /** For pushes. */
  target: Target;
  /** The same for pulls from a repository. */
  pulling(repository: string): Promise<Target>;
  /** Of its process, when it is on this machine. */
  pid: number | undefined;
};

function basic(credentials: string): string {
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}

/** A hub with the settings it comes with; its data is in the folder. */
export async function startHub(folder: string, stack: AsyncDisposableStack): Promise<Side> {
  const programs = new Programs(folder);
  stack.defer(() => programs.stopAll());
  const hub = await programs.start({
    kind: 'hub',
    name: 'hub',
    from: FIRST_PORT,
    configOf: ({ port, ops }) => ({
      http: { listen: [`127.0.0.1:${port}`] },
      ops: { listen: [`127.0.0.1:${ops}`] },
      hub: { dataDir: path.join(folder, 'hub', 'data'), names: ['hub.bench'] },
      access: { adminPassword: PASSWORD },
    }),
  });
  const authorization = basic(`admin:${PASSWORD}`);
  return {
    name: 'us',
    target: { url: hub.url, authorization },
    pulling: async (repository) => {
      const scope = encodeURIComponent(`repository:${repository}:pull`);
      const url = `${hub.url}/api/token?scope=${scope}`;
      const { body } = await request(url, { headers: { authorization } });
      const { token }: { token: string } = JSON.parse(await body.text());
      return { url: hub.url, authorization: `Bearer ${token}` };
    },
    pid: hub.child.pid,
  };
}

/** The registry of --against, or Debian's. */
export async function startOther(
  { against }: RegistryBenchOptions,
  folder: string,
  stack: AsyncDisposableStack,
): Promise<Side> {
  const { url, credentials } = against ?? { ...(await debian(folder, stack)) };
  const authorization = credentials === undefined ? undefined : basic(credentials);
  const target = { url, authorization };
  return { name: 'other', target, pulling: async () => target, pid: pidAt(new URL(url)) };
}

async function debian(
  folder: string,
  stack: AsyncDisposableStack,
): Promise<{ url: string; credentials?: undefined }> {
  if (missingDockerRegistry() !== false) {
    throw new Error('needs docker-registry on the PATH, or --against URL');
  }
  return stack.use(await startDockerRegistry(folder));
}

/** The process that listens there, if it is one of this user on this machine. */
function pidAt({ hostname, port, protocol }: URL): number | undefined {
  if (!HERE.includes(hostname)) return undefined;
  const number = Number(port) || (protocol === 'https:' ? 443 : 80);
  const hex = number.toString(16).toUpperCase().padStart(4, '0');
  const lines = ['tcp', 'tcp6'].flatMap((table) => linesOf(`/proc/net/${table}`));
  const sockets = lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', , state]) => local.endsWith(`:${hex}`) && state === LISTENING)
    .map((fields) => `socket:[${fields[9]}]`);
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => openFiles(pid).some((file) => sockets.includes(file)));
  return found === undefined ? undefined : Number(found);
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function openFiles(pid: string): string[] {
  const folder = `/proc/${pid}/fd`;
  try {
    return readdirSync(folder).map((name) => readlinkSync(path.join(folder, name)));
  } catch {
    // Of another user, or gone.
    return [];
  }
}
