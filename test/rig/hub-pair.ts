// Two hubs on one PostgreSQL and one bucket behind nginx, all on the hub machine of a test network.
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { hubConfig } from './fleet-config.ts';
import { change, type Stops } from './fleet.ts';
import { HUB_PORT, Program, type ConfigFile } from './flotilla.ts';
import type { Machine } from './network.ts';
import { PostgresServer } from './postgres.ts';
import { start } from './processes.ts';
import { Radosgw } from './radosgw.ts';
import { findProgram } from './requirements.ts';
import type { Scratch } from './scratch.ts';
import { until } from './until.ts';
import { Worker } from './worker.ts';

const BUCKET = 'flotilla';
const START_TIMEOUT_MS = 20_000;
const SETTLED_TIMEOUT_MS = 30_000;
const FIRST_PORT = 7420;
const PORTS_EACH = 10;

/** Passes every request on as it is, to the next hub when one cannot be reached. */
function nginxConfiguration(folder: string, ports: readonly number[]): string {
  const servers = ports.map((port) => `server 127.0.0.1:${port} max_fails=1 fail_timeout=1s;`);
  return `user root;
worker_processes 1;
daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream hubs {
    ${servers.join('\n    ')}
  }
  server {
    listen ${HUB_PORT};
    listen [::]:${HUB_PORT};
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_http_version 1.1;
    proxy_connect_timeout 2s;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    add_header X-Served-By $upstream_addr always;
    location / { proxy_pass http://hubs; }
  }
}
`;
}

/** The bucket that both hubs keep their blobs in. */
async function startBucket(machine: Machine, worker: Worker, stops: Stops): Promise<Radosgw> {
  const gateway = await Radosgw.start({
    inside: (command) => machine.inside(command),
    reach: (url) => worker.http(url),
  });
  stops.push(() => gateway[Symbol.asyncDispose]());
  const { endpoint, accessKeyId, secretAccessKey } = gateway;
  const credentials = { accessKeyId, secretAccessKey };
  const client = new S3Client({ endpoint, region: 'us-east-1', credentials, forcePathStyle: true });
  const url = await getSignedUrl(client, new CreateBucketCommand({ Bucket: BUCKET }));
  const made = await worker.http(url, { method: 'PUT' });
  if (made.status !== 200) throw new Error(`no bucket: ${made.status} ${made.body.toString()}`);
  return gateway;
}

/** Two hubs, and what is in front of and behind them. */
export class HubPair {
  readonly hubs: readonly Program[];

  private constructor(hubs: readonly Program[]) {
    this.hubs = hubs;
  }

  /** `changes` are added to the configuration of both. */
  static async start(
    scratch: Scratch,
    machine: Machine,
    stops: Stops,
    changes: ConfigFile = {},
  ): Promise<HubPair> {
    const worker = await Worker.start(machine);
    stops.push(() => worker.stop());
    const postgres = await PostgresServer.start();
    stops.push(() => postgres.stop());
    const database = await postgres.createDatabase();
    const gateway = await startBucket(machine, worker, stops);
    const { endpoint, accessKeyId, secretAccessKey } = gateway;
    const s3 = { endpoint, bucket: BUCKET, accessKeyId, secretAccessKey };
    const { user, port } = postgres.target;
    const place = `host=${postgres.socketFolder}&port=${port}`;
    const encryptionKeyFile = path.join(scratch.folder, 'fleet-key');
    await writeFile(encryptionKeyFile, randomBytes(32).toString('hex'), { mode: 0o600 });
    const shared = {
      fleet: { keys: { encryptionKeyFile } },
      catalog: { url: `postgres://${user}@/${database}?${place}`, tls: 'off' },
      blobs: { driver: 's3', s3 },
      ...changes,
    };
    const hubs: Program[] = [];
    for (const name of ['hub-a', 'hub-b']) {
      const at = { name, port: FIRST_PORT + hubs.length * PORTS_EACH };
      const hub = await programOf(scratch, { machine, worker }, at, shared);
      stops.push(() => hub.stop());
      await hub.start();
      hubs.push(hub);
    }
    await startNginx(scratch, { machine, worker }, stops);
    const pair = new HubPair(hubs);
    await pair.agreed();
    return pair;
  }

  /** The hub itself, past nginx. */
  urlOf(number: number): string {
    return `http://127.0.0.1:${FIRST_PORT + (number - 1) * PORTS_EACH}`;
  }

  /** Resolves when both know each other and own their share. */
  async agreed(): Promise<void> {
    await until('both hubs to own their share', SETTLED_TIMEOUT_MS, async () => {
      const all = await Promise.all(this.hubs.map((hub) => hub.metrics()));
      const isOne = all.every(
        (metrics) =>
          metrics.sum('flotilla_hub_replicas_alive') === this.hubs.length &&
          metrics.sum('flotilla_hub_replicas_owner') === 1,
      );
      return isOne ? true : undefined;
    });
  }
}

async function programOf(
  scratch: Scratch,
  on: { machine: Machine; worker: Worker },
  at: { name: string; port: number },
  shared: ConfigFile,
): Promise<Program> {
  const folder = await scratch.make(at.name);
  const dataFolder = await scratch.make(at.name, 'data');
  const externalUrl = `http://${on.machine.urlHost}:${HUB_PORT}`;
  const config = hubConfig({ dataFolder, externalUrl });
  config['http'] = { listen: [`127.0.0.1:${at.port}`], trustedProxies: ['127.0.0.1'] };
  config['ops'] = { listen: [`127.0.0.1:${at.port + 1}`] };
  config['replicas'] = { advertise: `http://127.0.0.1:${at.port}` };
  change(config, shared);
  return new Program({ kind: 'hub', ...on, folder, config, opsPort: at.port + 1 });
}

async function startNginx(
  scratch: Scratch,
  { machine, worker }: { machine: Machine; worker: Worker },
  stops: Stops,
): Promise<void> {
  const folder = await scratch.make('nginx');
  const file = path.join(folder, 'nginx.conf');
  await writeFile(file, nginxConfiguration(folder, [FIRST_PORT, FIRST_PORT + PORTS_EACH]));
  const program = findProgram('nginx') ?? 'nginx';
  const command = [program, '-c', file, '-e', path.join(folder, 'error.log')];
  const running = start(machine.inside(command), { name: 'nginx' });
  stops.push(() => running.stop());
  await until('nginx answers', START_TIMEOUT_MS, async () => {
    if (running.exit) throw new Error(`nginx ended: ${running.output()}`);
    const answer = await worker.http(`http://127.0.0.1:${HUB_PORT}/v2/`).catch(() => undefined);
    return answer === undefined ? undefined : true;
  });
}
