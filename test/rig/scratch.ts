import { spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from './processes.ts';

const FOLDER_PREFIX = 'flotilla-rig-';
const NETNS_FOLDER = '/run/netns';
const NETNS_PREFIX = 'flr';
const UNMOUNT_ROUNDS_MAX = 3;

/**
 * What one test process leaves on the machine: a folder under the temporary folder and network
 * namespaces, both named after its pid, so that a later run can tell and remove what a crashed
 * one left behind. All of it is removed when the process ends, in whatever way it can notice.
 */
export class Scratch {
  readonly folder: string;
  readonly netnsPrefix: string;

  private constructor(pid: number) {
    this.folder = path.join(tmpdir(), `${FOLDER_PREFIX}${pid}`);
    this.netnsPrefix = `${NETNS_PREFIX}${pid}-`;
  }

  static open(): Scratch {
    removeLeftovers();
    const scratch = new Scratch(process.pid);
    mkdirSync(scratch.folder, { recursive: true });
    process.on('exit', () => scratch.close());
    return scratch;
  }

  /** An absolute folder below the scratch folder, made when it does not exist. */
  async make(...names: string[]): Promise<string> {
    const folder = path.join(this.folder, ...names);
    await mkdir(folder, { recursive: true });
    return folder;
  }

  /** Like make, but on a file system of its own in memory when a size is given. */
  async disk(sizeBytes: number | undefined, ...names: string[]): Promise<string> {
    const folder = await this.make(...names);
    if (sizeBytes === undefined) return folder;
    await run(['mount', '-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'flotilla-rig', folder]);
    return folder;
  }

  /** Removes everything. Synchronous, because it also runs when the process exits. */
  close(): void {
    removeFolder(this.folder);
    removeNamespaces(this.netnsPrefix);
  }
}

function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(name.startsWith(FOLDER_PREFIX) ? name.slice(FOLDER_PREFIX.length) : '');
    if (pid > 0 && !isAlive(pid)) removeFolder(path.join(tmpdir(), name));
  }
  for (const name of namespaceNames()) {
    const pid = /^flr(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) removeNamespaces(`${NETNS_PREFIX}${pid}-`);
  }
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

function namespaceNames(): string[] {
  return existsSync(NETNS_FOLDER) ? readdirSync(NETNS_FOLDER) : [];
}

function removeNamespaces(prefix: string): void {
  for (const name of namespaceNames().filter((each) => each.startsWith(prefix))) {
    spawnSync('ip', ['netns', 'del', name]);
  }
}

function removeFolder(folder: string): void {
  killUsersOf(folder);
  for (let round = 0; round < UNMOUNT_ROUNDS_MAX; round += 1) {
    const mounts = mountsBelow(folder);
    if (mounts.length === 0) break;
    for (const mount of mounts) spawnSync('umount', ['-l', mount]);
  }
  const left = mountsBelow(folder);
  if (left.length > 0) throw new Error(`could not unmount ${left.join(', ')}`);
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Mount points inside a folder, the deepest first. */
function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length);
}

/**
 * Ends processes that were started with a path of this folder, such as containerd's shims, and
 * the containers those shims would otherwise leave running.
 */
export function killUsersOf(folder: string): void {
  for (const file of globSync(path.join(folder, '**/io.containerd.runtime.v2.task/*/*/init.pid'))) {
    killQuietly(() => Number(readFileSync(file, 'utf8')));
  }
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!(pid > 0) || pid === process.pid) continue;
    killQuietly(() => {
      const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
      return words.some((word) => word.startsWith(`${folder}/`)) ? pid : 0;
    });
  }
}

function killQuietly(find: () => number): void {
  try {
    const pid = find();
    if (pid > 0) process.kill(pid, 'SIGKILL');
  } catch {
    // It ended while we looked.
  }
}
