// A disk in memory that keeps apart what was written and what was synced, for tests of the driver.
import { dirname, basename } from 'node:path';
import type { FileOps, StoreFile } from './file-ops.ts';

type FileNode = { kind: 'file'; bytes: Buffer; durable: Buffer; changedMs: number };
type FolderNode = { kind: 'folder'; names: Map<string, Node>; durable: Map<string, Node> };
type Node = FileNode | FolderNode;

type OperationName =
  | 'create'
  | 'open'
  | 'reopen'
  | 'truncate'
  | 'changedMs'
  | 'write'
  | 'read'
  | 'stat'
  | 'sync'
  | 'close'
  | 'rename'
  | 'syncFolder'
  | 'makeFolder'
  | 'remove'
  | 'list'
  | 'size';

export type Operation = { name: OperationName; path: string };

export class DiskError extends Error {
  readonly code: string;

  constructor(code: string, path: string) {
    super(`${code}: ${path}`);
    this.code = code;
  }
}

function newFolder(): FolderNode {
  return { kind: 'folder', names: new Map(), durable: new Map() };
}

function newFile(bytes: Buffer): FileNode {
  return { kind: 'file', bytes, durable: bytes, changedMs: Date.now() };
}

/** What a power cut leaves of bytes or a name that were changed and not synced. */
export type Survival = () => 'old' | 'new' | 'part';

/** Files and folders; `before` sees each operation first, and its failure is that of the call. */
export class MemoryDisk implements FileOps {
  before: (operation: Operation) => Promise<void> | void = () => undefined;
  /** True for a sync that does nothing, as on a disk that lies or in a driver that forgot it. */
  forgets: (operation: Operation) => boolean = () => false;
  /** Bytes that one write takes at most. */
  writeMax = Number.POSITIVE_INFINITY;
  #root = newFolder();
  #open = 0;

  /** Files that are open now. */
  get openFiles(): number {
    return this.#open;
  }

  /** The disk that a machine finds after its power was cut now. */
  afterPowerCut(survival: Survival): MemoryDisk {
    const disk = new MemoryDisk();
    const remains = remainsOf(this.#root, survival);
    if (remains.kind === 'folder') disk.#root = remains;
    return disk;
  }

  /** All names below a folder that are files, with whole paths. */
  files(path = '/'): string[] {
    const found: string[] = [];
    const walk = (folder: FolderNode, prefix: string): void => {
      for (const [name, node] of folder.names) {
        if (node.kind === 'file') found.push(`${prefix}/${name}`);
        else walk(node, `${prefix}/${name}`);
      }
    };
    const start = this.#find(path);
    if (start?.kind === 'folder') walk(start, path === '/' ? '' : path);
    return found.sort();
  }

  async create(path: string): Promise<StoreFile> {
    await this.before({ name: 'create', path });
    const { names } = this.#parent(path);
    if (names.has(basename(path))) throw new DiskError('EEXIST', path);
    const node = newFile(Buffer.alloc(0));
    names.set(basename(path), node);
    return this.#handle(node, path);
  }

  async open(path: string): Promise<StoreFile> {
    await this.before({ name: 'open', path });
    return this.#handle(this.#file(path), path);
  }

  async reopen(path: string): Promise<StoreFile> {
    await this.before({ name: 'reopen', path });
    return this.#handle(this.#file(path), path);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.before({ name: 'rename', path: to });
    const target = this.#parent(to);
    const node = this.#file(from);
    this.#parent(from).names.delete(basename(from));
    target.names.set(basename(to), node);
  }

  async syncFolder(path: string): Promise<void> {
    const operation: Operation = { name: 'syncFolder', path };
    await this.before(operation);
    const folder = this.#folder(path);
    if (!this.forgets(operation)) folder.durable = new Map(folder.names);
  }

  async makeFolder(path: string): Promise<boolean> {
    await this.before({ name: 'makeFolder', path });
    const { names } = this.#parent(path);
    const known = names.get(basename(path));
    if (known?.kind === 'folder') return false;
    if (known) throw new DiskError('EEXIST', path);
    names.set(basename(path), newFolder());
    return true;
  }

  async remove(path: string): Promise<void> {
    await this.before({ name: 'remove', path });
    this.#file(path);
    this.#parent(path).names.delete(basename(path));
  }

  async list(path: string): Promise<string[]> {
    await this.before({ name: 'list', path });
    return [...this.#folder(path).names.keys()];
  }

  async size(path: string): Promise<number> {
    await this.before({ name: 'size', path });
    return this.#file(path).bytes.length;
  }

  async changedMs(path: string): Promise<number> {
    await this.before({ name: 'changedMs', path });
    return this.#file(path).changedMs;
  }

  #handle(node: FileNode, path: string): StoreFile {
    let open = true;
    this.#open += 1;
    const enter = async (name: OperationName): Promise<void> => {
      if (!open) throw new DiskError('EBADF', path);
      await this.before({ name, path });
    };
    return {
      writev: async (slices, position) => {
        const bytes = Buffer.concat(slices).subarray(0, this.writeMax);
        await enter('write');
        node.bytes = Buffer.concat([node.bytes.subarray(0, position), bytes]);
        node.changedMs = Date.now();
        return { bytesWritten: bytes.length };
      },
      read: async (into, offset, length, position) => {
        await enter('read');
        const part = node.bytes.subarray(position, position + length);
        into.set(part, offset);
        return { bytesRead: part.length };
      },
      stat: async () => {
        await enter('stat');
        return { size: node.bytes.length };
      },
      truncate: async (size) => {
        await enter('truncate');
        node.bytes = node.bytes.subarray(0, size);
      },
      sync: async () => {
        await enter('sync');
        if (!this.forgets({ name: 'sync', path })) node.durable = node.bytes;
      },
      // The descriptor is gone whatever close says.
      close: async () => {
        if (!open) return;
        open = false;
        this.#open -= 1;
        await this.before({ name: 'close', path });
      },
    };
  }

  #find(path: string): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of path.split('/').filter((part) => part !== '')) {
      node = node?.kind === 'folder' ? node.names.get(name) : undefined;
    }
    return node;
  }

  #file(path: string): FileNode {
    const node = this.#find(path);
    if (node?.kind !== 'file') throw new DiskError(node ? 'EISDIR' : 'ENOENT', path);
    return node;
  }

  #folder(path: string): FolderNode {
    const node = this.#find(path);
    if (node?.kind !== 'folder') throw new DiskError(node ? 'ENOTDIR' : 'ENOENT', path);
    return node;
  }

  #parent(path: string): FolderNode {
    return this.#folder(dirname(path));
  }
}

function remainsOf(node: Node, survival: Survival): Node {
  if (node.kind === 'file') {
    const bytes = bytesLeft(node, survival);
    return newFile(bytes);
  }
  const names = new Map<string, Node>();
  for (const name of new Set([...node.names.keys(), ...node.durable.keys()])) {
    const [now, synced] = [node.names.get(name), node.durable.get(name)];
    const left = now === synced || survival() === 'new' ? now : synced;
    if (left !== undefined) names.set(name, remainsOf(left, survival));
  }
  return { kind: 'folder', names, durable: new Map(names) };
}

function bytesLeft({ bytes, durable }: FileNode, survival: Survival): Buffer {
  if (bytes === durable) return bytes;
  const fate = survival();
  if (fate === 'part') return bytes.subarray(0, Math.floor(bytes.length / 2));
  return fate === 'new' ? bytes : durable;
}
