import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync, globSync } from 'node:fs';
import path from 'node:path';
import { after } from 'node:test';
import { Client } from 'pg';
import { hasCode } from '../../proto/std/errors.ts';
import { findProgram } from './requirements.ts';
import { attempt, run, start, type Running } from './processes.ts';
import { Scratch } from './scratch.ts';
import { until } from './until.ts';
import { freePort } from './free-port.ts';

const START_TIMEOUT_MS = 60_000;
const START_ATTEMPTS_MAX = 3;
const OWNER = 'postgres';
/** The superuser of the server and the role the tests use. */
const ROLE = 'flotilla';
/** The default order of text is not that of bytes, as on most servers in use. */
const INIT_OPTIONS = [
  '--auth=trust',
  '--encoding=UTF8',
  '--locale=C',
  '--locale-provider=icu',
  '--icu-locale=en-US',
  `--username=${ROLE}`,
  '--no-sync',
];

function programOf(name: string): string | undefined {
  // Debian keeps those of every major version in a folder of their own.
  const [newest] = globSync(`/usr/lib/postgresql/*/bin/${name}`).sort().reverse();
  return newest ?? findProgram(name);
}

/** Why no PostgreSQL can be started here, or false: the value node:test takes as `skip`. */
export function missingPostgres(): string | false {
  const missing = ['initdb', 'postgres'].filter((name) => programOf(name) === undefined);
  if (missing.length > 0) return `needs ${missing.join(', ')}: see test/rig/install.sh`;
  const rooted = process.getuid?.() === 0;
  return rooted && !findProgram('setpriv') && 'needs setpriv: PostgreSQL does not run as root';
}

export type PostgresOptions = {
  /** Whether commits wait for the disk; only what a power cut leaves depends on it. */
  fsync?: boolean;
  /** Other settings of the server. */
  settings?: Record<string, string>;
};

/** A private PostgreSQL on loopback. It ends, and its data with it, when the test process ends. */
export class PostgresServer {
  readonly folder: string;
  #port = 0;
  #process: Running | undefined;
  #options: PostgresOptions;
  #databases = 0;

  private constructor(folder: string, options: PostgresOptions) {
    this.folder = folder;
    this.#options = options;
  }

  static async start(options: PostgresOptions = {}): Promise<PostgresServer> {
    servers += 1;
    const folder = await Scratch.open().make(`postgres-${servers}`);
    const server = new PostgresServer(folder, options);
    await mkdir(server.#data);
    await mkdir(server.socketFolder);
    await giveAway(folder, server.#data, server.socketFolder);
    const init = programOf('initdb') ?? 'initdb';
    await run([...asOwner(), init, `--pgdata=${server.#data}`, ...INIT_OPTIONS], { env: ENV });
    await writeFile(path.join(server.#data, 'pg_hba.conf'), HBA);
    for (let left = START_ATTEMPTS_MAX; ; left -= 1) {
      // oxlint-disable-next-line no-await-in-loop -- another program may have taken the port
      server.#port = await freePort();
      try {
        // oxlint-disable-next-line no-await-in-loop -- the next try has another port
        await server.resume();
        return server;
      } catch (err) {
        if (left <= 1) throw err;
      }
    }
  }

  get port(): number {
    return this.#port;
  }

  /** How a catalog reaches the server; the database is missing. */
  get target(): { host: string; port: number; user: string } {
    return { host: '127.0.0.1', port: this.#port, user: ROLE };
  }

  /** Starts again after `stop`, on the same data and port; nothing when it runs. */
  async resume(): Promise<void> {
    if (this.#process !== undefined && this.#process.exit === undefined) return;
    const settings = {
      listen_addresses: '127.0.0.1',
      port: String(this.#port),
      unix_socket_directories: this.socketFolder,
      deadlock_timeout: '100ms',
      fsync: this.#options.fsync === true ? 'on' : 'off',
      ...this.#options.settings,
    };
    const words = Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
    const command = [...asOwner(), programOf('postgres') ?? 'postgres', '-D', this.#data, ...words];
    this.#process = start(command, { name: 'postgres', env: ENV });
    await this.#process.waitForOutput(/ready to accept connections/, START_TIMEOUT_MS);
  }

  /** Ends the server: clients are cut off, what was committed stays. */
  async stop(): Promise<void> {
    this.#process?.kill('SIGINT');
    await this.#process?.exited;
  }

  /** Kills the server with all its processes, as a machine that fails does. */
  async crash(): Promise<void> {
    const all = await this.#processes();
    for (const pid of all) killQuietly(pid);
    await this.#process?.exited;
    // A backend that lives on would keep the next server from its data.
    await until('PostgreSQL is gone', START_TIMEOUT_MS, async () => {
      return all.some((pid) => existsSync(`/proc/${pid}`)) ? undefined : true;
    });
  }

  /** Lets the server stand still, connections and all, until `wake`. */
  async freeze(): Promise<void> {
    for (const pid of await this.#processes()) process.kill(pid, 'SIGSTOP');
  }

  async wake(): Promise<void> {
    for (const pid of await this.#processes()) process.kill(pid, 'SIGCONT');
  }

  url(database: string, user: string = ROLE): string {
    return `postgres://${user}@127.0.0.1:${this.#port}/${database}`;
  }

  /** An empty database; its name. */
  async createDatabase(options = ''): Promise<string> {
    this.#databases += 1;
    const name = `test_${this.#databases}`;
    await this.query('postgres', `create database ${name} ${options}`);
    return name;
  }

  /** Runs one statement as the superuser. */
  async query(
    database: string,
    text: string,
    values?: readonly unknown[],
  ): Promise<Record<string, unknown>[]> {
    const client = new Client({ connectionString: this.url(database) });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text, values && [...values])).rows;
    } finally {
      await client.end();
    }
  }

  get #data(): string {
    return path.join(this.folder, 'data');
  }

  /** Runs statements one after the other in one session of the superuser. */
  async script(database: string, statements: readonly string[]): Promise<void> {
    const client = new Client({ connectionString: this.url(database) });
    await client.connect();
    try {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      for (const text of statements) await client.query(text);
    } finally {
      await client.end();
    }
  }

  /** Offers TLS from now on, with a certificate for 127.0.0.1 signed by itself: the PEM of it. */
  async useTls(): Promise<string> {
    const [cert, key] = ['server.crt', 'server.key'].map((name) => path.join(this.#data, name));
    const names = ['-subj', '/CN=postgres', '-addext', 'subjectAltName=IP:127.0.0.1'];
    const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const files = ['-keyout', key ?? '', '-out', cert ?? ''];
    const request = ['openssl', 'req', '-x509', '-days', '2', ...curve, ...names, ...files];
    await run([...asOwner(), ...request], { cwd: this.#data });
    await this.query('postgres', 'alter system set ssl = on');
    await this.query('postgres', 'select pg_reload_conf()');
    await until('PostgreSQL offers TLS', START_TIMEOUT_MS, async () => {
      const [row] = await this.query('postgres', 'show ssl');
      return row?.['ssl'] === 'on' ? true : undefined;
    });
    return readFile(cert ?? '', 'utf8');
  }

  /** Where its Unix socket is. */
  get socketFolder(): string {
    return path.join(this.folder, 's');
  }

  async #processes(): Promise<number[]> {
    const parent = this.#process?.pid;
    if (parent === undefined) return [];
    const { stdout } = await attempt(['ps', '-o', 'pid=', '--ppid', String(parent)]);
    return [parent, ...stdout.split('\n').map(Number).filter(Boolean)];
  }
}

let servers = 0;

/**
 * The one server that the tests of a file share. Call it at the top of the file: the server starts
 * when it is first asked for, and ends after the last test.
 */
export function postgresForTests(): {
  skip: string | false;
  server: () => Promise<PostgresServer>;
} {
  let started: Promise<PostgresServer> | undefined;
  after(async () => (await started)?.stop());
  return {
    skip: missingPostgres(),
    server: () => (started ??= PostgresServer.start()),
  };
}

/** One role needs its password; all others may in without. */
const HBA = `
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
local all all trust
`;
const ENV = { LC_ALL: 'C', TZ: 'UTC' };

/** A process may have ended since it was listed. */
function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (err) {
    if (!hasCode(err, 'ESRCH')) throw err;
  }
}

/** PostgreSQL refuses to run as root. */
function asOwner(): string[] {
  if (process.getuid?.() !== 0) return [];
  return ['setpriv', `--reuid=${OWNER}`, `--regid=${OWNER}`, '--clear-groups', '--'];
}

async function giveAway(...folders: string[]): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { stdout } = await run(['id', '-u', OWNER]);
  const { stdout: group } = await run(['id', '-g', OWNER]);
  await Promise.all(folders.map((folder) => chown(folder, Number(stdout), Number(group))));
}
