import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { findProgram } from './requirements.ts';
import { start } from './processes.ts';
import { until } from './until.ts';
import { freePort } from './free-port.ts';

const READY_TIMEOUT_MS = 20_000;

/** What is missing on this machine, as node:test takes it for `skip`. */
export function missingDockerRegistry(): string | false {
  const found = findProgram('docker-registry') !== undefined;
  return !found && 'needs docker-registry: see test/rig/install.sh';
}

/** Debian's docker-registry on loopback without access control, its data in the folder. */
export async function startDockerRegistry(
  folder: string,
): Promise<{ url: string } & AsyncDisposable> {
  const port = await freePort();
  const config = {
    version: '0.1',
    log: { level: 'error' },
    storage: {
      filesystem: { rootdirectory: path.join(folder, 'data') },
      delete: { enabled: true },
    },
    http: { addr: `127.0.0.1:${port}` },
  };
  const file = path.join(folder, 'docker-registry.yml');
  await writeFile(file, JSON.stringify(config));
  const program = findProgram('docker-registry') ?? 'docker-registry';
  const running = start([program, 'serve', file], {
    name: 'docker-registry',
    env: { OTEL_TRACES_EXPORTER: 'none' },
  });
  const url = `http://127.0.0.1:${port}`;
  await until('docker-registry ready', READY_TIMEOUT_MS, async () => {
    if (running.exit) throw new Error(`docker-registry ended at once: ${running.output()}`);
    const answer = await fetch(`${url}/v2/`).catch(() => undefined);
    return answer?.status === 200 ? true : undefined;
  });
  return { url, [Symbol.asyncDispose]: async () => void (await running.stop()) };
}
