// What a power cut leaves of a folder on the real disk: what was synced, and of the rest what the
// test says. Only syncs through node:fs/promises are seen.
import { chmod, mkdir, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../../proto/std/errors.ts';

type FileKept = { kind: 'file'; bytes: Buffer; mode: number };
type FolderKept = { kind: 'folder'; names: Map<string, string>; mode: number };
type Kept = FileKept | FolderKept;

/** Whether a change that was not synced is on the disk nevertheless, by the path it is at. */
export type Luck = (change: { what: 'bytes' | 'name'; path: string }) => boolean;

/** The luck of a power cut that leaves as little, or as much, as it may. */
export const LUCKS: Record<string, Luck> = {
  'nothing more': () => false,
  'names, but no bytes': ({ what }) => what === 'name',
  'bytes, but no names': ({ what }) => what === 'bytes',
  everything: () => true,
};

/** Watches what is synced in a folder, whose content now is on the disk, and cuts the power. */
export class PowerCut implements Disposable {
  readonly #top: string;
  readonly #kept = new Map<string, Kept>();
  readonly #stop: () => void;

  private constructor(top: string, handles: FileHandle) {
    this.#top = top;
    this.#stop = patchSyncs(handles, (handle) => this.#synced(handle));
  }

  static async watch(top: string): Promise<PowerCut> {
    const cut = new PowerCut(top, await prototypeOfHandles(top));
    for (const file of await everythingIn(top)) await cut.#keep(file);
    return cut;
  }

  /** The folder is what a machine finds that starts again. */
  async cut(luck: Luck): Promise<void> {
    const left = new Map<string, Kept>();
    const walk = async (folder: string): Promise<void> => {
      const { names, mode } = await this.#namesLeft(folder, luck);
      const id = await idOf(folder);
      left.set(id, { kind: 'folder', names, mode });
      for (const [name, child] of names) {
        if (left.has(child)) continue;
        const place = path.join(folder, name);
        if ((await idOf(place).catch(() => '')) !== child) this.#old(child, left);
        else if ((await stat(place)).isDirectory()) await walk(place);
        else left.set(child, await this.#fileLeft(place, child, luck));
      }
    };
    await walk(this.#top);
    const root = await idOf(this.#top);
    await rm(this.#top, { recursive: true });
    await restore(this.#top, root, left);
    this.#kept.clear();
    for (const file of await everythingIn(this.#top)) await this.#keep(file);
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  async #synced(handle: FileHandle): Promise<void> {
    const { ino, dev, birthtimeNs } = await handle.stat({ bigint: true });
    const id = `${dev}:${ino}:${birthtimeNs}`;
    for (const file of await everythingIn(this.#top)) {
      if ((await idIfThere(file)) === id) return this.#keep(file);
    }
  }

  async #keep(file: string): Promise<void> {
    this.#kept.set(await idOf(file), await asItIs(file));
  }

  /** What was synced of something that is no longer where it was. */
  #old(id: string, left: Map<string, Kept>): void {
    const kept = this.#kept.get(id);
    if (kept === undefined) return;
    left.set(id, kept);
    if (kept.kind === 'folder') for (const child of kept.names.values()) this.#old(child, left);
  }

  async #fileLeft(file: string, id: string, luck: Luck): Promise<Kept> {
    const now = await asItIs(file);
    if (luck({ what: 'bytes', path: file })) return now;
    return this.#kept.get(id) ?? { kind: 'file', bytes: Buffer.alloc(0), mode: now.mode };
  }

  async #namesLeft(folder: string, luck: Luck): Promise<FolderKept> {
    const now = await asItIs(folder);
    const synced = this.#kept.get(await idOf(folder));
    const before = synced?.kind === 'folder' ? synced.names : new Map<string, string>();
    const after = now.kind === 'folder' ? now.names : new Map<string, string>();
    const names = new Map<string, string>();
    for (const name of new Set([...before.keys(), ...after.keys()])) {
      const place = path.join(folder, name);
      const known = luck({ what: 'name', path: place }) ? after : before;
      const id = known.get(name);
      if (id !== undefined) names.set(name, id);
    }
    return { kind: 'folder', names, mode: now.mode };
  }
}

/** Tells of every sync of a file or folder after it was done; returns what ends that. */
function patchSyncs(
  prototype: Pick<FileHandle, 'sync' | 'datasync'>,
  seen: (handle: FileHandle) => Promise<void>,
): () => void {
  const { sync, datasync } = prototype;
  prototype.sync = async function noticed(this: FileHandle) {
    await sync.call(this);
    await seen(this);
  };
  prototype.datasync = async function noticed(this: FileHandle) {
    await datasync.call(this);
    await seen(this);
  };
  return () => void Object.assign(prototype, { sync, datasync });
}

async function prototypeOfHandles(folder: string): Promise<FileHandle> {
  await using handle = await open(folder, 'r');
  const prototype: FileHandle = Object.getPrototypeOf(handle);
  return prototype;
}

async function idOf(file: string): Promise<string> {
  const { ino, dev, birthtimeNs } = await stat(file, { bigint: true });
  return `${dev}:${ino}:${birthtimeNs}`;
}

/** undefined: somebody has moved it since its folder was read. */
async function idIfThere(file: string): Promise<string | undefined> {
  try {
    return await idOf(file);
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}

async function asItIs(file: string): Promise<Kept> {
  const found = await stat(file);
  const mode = found.mode % 0o1000;
  if (!found.isDirectory()) return { kind: 'file', bytes: await readFile(file), mode };
  const names = new Map<string, string>();
  for (const name of await readdir(file)) {
    const id = await idIfThere(path.join(file, name));
    if (id !== undefined) names.set(name, id);
  }
  return { kind: 'folder', names, mode };
}

async function everythingIn(folder: string): Promise<string[]> {
  const below = await readdir(folder, { recursive: true });
  return [folder, ...below.map((name) => path.join(folder, name))];
}

async function restore(place: string, id: string, left: Map<string, Kept>): Promise<void> {
  const kept = left.get(id);
  if (kept?.kind === 'folder') {
    await mkdir(place);
    for (const [name, child] of kept.names) await restore(path.join(place, name), child, left);
  } else await writeFile(place, kept?.bytes ?? '');
  if (kept !== undefined) await chmod(place, kept.mode);
}
