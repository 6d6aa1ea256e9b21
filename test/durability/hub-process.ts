// A hub as its own process, on loopback, that can be killed and started again on the same data.
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { start, type Running } from '../rig/processes.ts';

const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const START_TIMEOUT_MS = 60_000;
const PASSWORD = 'a test password';

export const AUTHORIZATION = `Basic ${Buffer.from(`admin:${PASSWORD}`).toString('base64')}`;

/** Starts a program of the product with this configuration, written as a file into `folder`. */
export async function startProgram(
  kind: 'hub' | 'agent',
  folder: string,
  config: object,
): Promise<Running> {
  const file = path.join(folder, `${kind}.yaml`);
  await writeFile(file, JSON.stringify(config));
  return start([LAUNCHER, kind, '--config', file], {
    name: kind,
    env: { FLOTILLA_NODE: process.execPath },
  });
}

export function hubConfig(dataDir: string): object {
  return {
    hub: { dataDir },
    http: { listen: ['127.0.0.1:0'] },
    ops: { listen: ['127.0.0.1:0'] },
    access: { adminPassword: PASSWORD },
  };
}

/** Where a hub serves that was started; rejects when it ends instead. */
export async function servedAt(running: Running): Promise<{ url: string; opsUrl: string }> {
  const [, url = '', opsUrl = ''] = await running.waitForOutput(
    /"urls":\["(http:[^"]+)"\],"ops":\["(http:[^"]+)"\].*hub serves/,
    START_TIMEOUT_MS,
  );
  return { url, opsUrl };
}

/** The hub and where it is served. `sections` of its configuration beside the usual ones. */
export async function startHubProcess(
  folder: string,
  dataDir: string,
  sections: object = {},
): Promise<{ running: Running; url: string; opsUrl: string }> {
  const running = await startProgram('hub', folder, { ...hubConfig(dataDir), ...sections });
  return { running, ...(await servedAt(running)) };
}
