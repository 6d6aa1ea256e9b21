import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { sleep } from '../../proto/std/abort.ts';
import { cpuSeconds } from '../rig/cpu.ts';
import { freePort } from '../rig/programs.ts';
import { curl } from './peer-path.ts';

const START_ATTEMPTS = 100;
const START_PAUSE_MS = 50;

/** nginx with sendfile on the receiver's core, serving one folder. */
export type Nginx = {
  /** Reads a file of the folder once; the seconds and nginx's CPU. */
  read(name: string, size: number): Promise<{ seconds: number; cpu: number }>;
  stop(): Promise<void>;
};

/** undefined when there is no nginx on this machine. */
export async function startNginx(folder: string): Promise<Nginx | undefined> {
  if (spawnSync('nginx', ['-v']).error !== undefined) return undefined;
  const home = path.join(folder, 'nginx');
  await mkdir(home, { recursive: true });
  const port = await freePort();
  const config = `
    daemon off; master_process off; pid ${home}/pid; error_log ${home}/error.log;
    events {}
    http { access_log off; sendfile on; tcp_nopush on;
      client_body_temp_path ${home}/b; proxy_temp_path ${home}/p; fastcgi_temp_path ${home}/f;
      uwsgi_temp_path ${home}/u; scgi_temp_path ${home}/s;
      server { listen 127.0.0.1:${port}; root ${folder}; } }`;
  const file = path.join(home, 'nginx.conf');
  await writeFile(file, config);
  const child = spawn('taskset', ['-c', '1', 'nginx', '-c', file, '-p', home], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  process.once('exit', () => child.kill());
  const { pid } = child;
  if (pid === undefined) return undefined;
  const url = `http://127.0.0.1:${port}`;
  const read = async (name: string, size: number): Promise<{ seconds: number; cpu: number }> => {
    const before = cpuSeconds(pid);
    const seconds = await curl(`${url}/${name}`, size);
    return { seconds, cpu: cpuSeconds(pid) - before };
  };
  await writeFile(path.join(folder, 'probe'), 'x');
  for (let attempt = 1; ; attempt++) {
    try {
      // oxlint-disable-next-line no-await-in-loop -- until it answers
      await read('probe', 1);
      break;
    } catch (err) {
      if (attempt === START_ATTEMPTS) throw err;
      // oxlint-disable-next-line no-await-in-loop -- until it answers
      await sleep(START_PAUSE_MS);
    }
  }
  return {
    read,
    stop: async () => {
      child.kill('SIGQUIT');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}
