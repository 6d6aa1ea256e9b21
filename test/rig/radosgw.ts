// A private S3 server: Ceph's gateway over one monitor and one store in memory, all on loopback.
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import { run, start, type Running } from './processes.ts';
import { findProgram } from './requirements.ts';
import { until } from './until.ts';
import { freePort } from './free-port.ts';

const PROGRAMS = ['ceph', 'ceph-mon', 'ceph-osd', 'monmaptool', 'radosgw', 'radosgw-admin'];
const STORE_BYTES = 2 * 1024 ** 3;
const READY_MS = 60_000;
const COMMAND_MS = 30_000;
const START_ATTEMPTS_MAX = 6;
const START_PAUSE_MS = 5_000;

/** What an S3 server lacks on this machine, as the reason its tests are skipped, or false. */
export function missingForRadosgw(): string | false {
  if (process.platform !== 'linux') return 'needs Linux, for the Ceph gateway';
  if (process.getuid?.() !== 0) return 'needs root, for the Ceph gateway';
  const missing = PROGRAMS.filter((name) => findProgram(name) === undefined);
  return missing.length > 0 && `needs ${missing.join(', ')}: see test/rig/install.sh`;
}

function configuration(
  folder: string,
  fsid: string,
  ports: { monitor: number; gateway: number },
): string {
  return `[global]
fsid = ${fsid}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_bind_msgr2 = false
mon_host = v1:127.0.0.1:${ports.monitor}/0
public_addr = 127.0.0.1
run_dir = ${folder}/run
log_file = ${folder}/$name.log
mon_cluster_log_file = ${folder}/cluster.log
admin_socket = ${folder}/run/$name.asok
pid_file = ${folder}/run/$name.pid
mon_data = ${folder}/mon
osd_data = ${folder}/osd
rgw_data = ${folder}/rgw
osd_journal = ${folder}/osd/journal
osd_objectstore = memstore
memstore_device_bytes = ${STORE_BYTES}
osd_class_load_list = *
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_data_avail_crit = 0
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
[client.rgw]
rgw_frontends = beast endpoint=127.0.0.1:${ports.gateway}
rgw_thread_pool_size = 64
`;
}

/** Where the server runs: in another network than the test, for one. */
export type Place = {
  /** The command, to be run there. */
  inside: (command: readonly string[]) => string[];
  /** Rejects while nobody answers at the URL. */
  reach: (url: string) => Promise<unknown>;
};

const HERE: Place = {
  inside: (command) => [...command],
  reach: async (url) => (await request(url)).body.dump(),
};

/** One server with one user and, at first, no bucket. */
export class Radosgw implements AsyncDisposable {
  readonly endpoint: string;
  readonly accessKeyId = 'flotilla-access';
  readonly secretAccessKey = 'flotilla-secret';
  readonly #folder: string;
  readonly #place: Place;
  readonly #daemons: Running[] = [];
  #gateway: Running | undefined;

  private constructor(folder: string, port: number, place: Place) {
    this.#folder = folder;
    this.#place = place;
    this.endpoint = `http://127.0.0.1:${port}`;
  }

  /** Takes about 3 s; again as long when another program got in the way. */
  static async start(place: Place = HERE): Promise<Radosgw> {
    for (let left = START_ATTEMPTS_MAX; ; left -= 1) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- the next try is for when this one failed
        return await Radosgw.#try(place);
      } catch (err) {
        if (left <= 1) throw err;
      }
      // oxlint-disable-next-line no-await-in-loop -- with other ports, a little later
      await delay(START_PAUSE_MS);
    }
  }

  static async #try(place: Place): Promise<Radosgw> {
    const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-ceph-'));
    const ports = { monitor: await freePort(), gateway: await freePort() };
    const fsid = randomUUID();
    await mkdir(path.join(folder, 'run'));
    for (const name of ['mon', 'osd', 'rgw']) await mkdir(path.join(folder, name));
    await writeFile(path.join(folder, 'ceph.conf'), configuration(folder, fsid, ports));
    const server = new Radosgw(folder, ports.gateway, place);
    try {
      await server.#startStore(fsid, ports.monitor);
      await server.back();
      await server.#createUser();
    } catch (err) {
      await server[Symbol.asyncDispose]();
      throw err;
    }
    return server;
  }

  /** The gateway goes away: connections are refused. */
  async away(): Promise<void> {
    this.#gateway?.kill('SIGKILL');
    await this.#gateway?.exited;
  }

  /** The gateway comes (back), with all it had. */
  async back(): Promise<void> {
    this.#gateway = this.#spawn('radosgw', '-n', 'client.rgw');
    await until('the gateway answers', READY_MS, () => this.#answers());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.away();
    for (const daemon of this.#daemons) daemon.kill('SIGKILL');
    await Promise.all(this.#daemons.map((daemon) => daemon.exited));
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #startStore(fsid: string, port: number): Promise<void> {
    const map = path.join(this.#folder, 'monmap');
    const address = `[v1:127.0.0.1:${port}]`;
    await run([program('monmaptool'), '--create', '--addv', 'a', address, '--fsid', fsid, map]);
    await this.#run('ceph-mon', '-i', 'a', '--mkfs', '--monmap', map);
    this.#daemons.push(this.#spawn('ceph-mon', '-i', 'a'));
    await this.#run('ceph', 'osd', 'create');
    await this.#run('ceph-osd', '-i', '0', '--mkfs');
    await this.#run('ceph', 'osd', 'crush', 'add', 'osd.0', '1', 'root=default', 'host=h');
    this.#daemons.push(this.#spawn('ceph-osd', '-i', '0'));
  }

  async #createUser(): Promise<void> {
    const keys = ['--access-key', this.accessKeyId, '--secret-key', this.secretAccessKey];
    const user = ['--uid', 'flotilla', '--display-name', 'flotilla', ...keys];
    await this.#run('radosgw-admin', '-n', 'client.rgw', 'user', 'create', ...user);
  }

  async #answers(): Promise<true | undefined> {
    const ended = [this.#gateway, ...this.#daemons].find((one) => one?.exit !== undefined);
    if (ended !== undefined) throw new Error(`${ended.name} ended: ${ended.output().slice(-2000)}`);
    try {
      await this.#place.reach(this.endpoint);
      return true;
    } catch {
      return undefined;
    }
  }

  #spawn(name: string, ...args: string[]): Running {
    const command = [program(name), '-f', '-c', this.#config, ...args];
    return start(this.#place.inside(command), { name });
  }

  async #run(name: string, ...args: string[]): Promise<string> {
    const command = [program(name), '-c', this.#config, ...args];
    return (await run(this.#place.inside(command), { timeoutMs: COMMAND_MS })).stdout;
  }

  get #config(): string {
    return path.join(this.#folder, 'ceph.conf');
  }
}

function program(name: string): string {
  return findProgram(name) ?? name;
}
