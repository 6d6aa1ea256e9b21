import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { IDLE_FILES_MAX } from './constants.ts';

type Entry = { file: Promise<FileHandle>; users: number; doomed: boolean };

/** Open data files: those in use, and at most IDLE_FILES_MAX others. */
export class FileCache {
  readonly #entries = new Map<string, Entry>();

  /** Runs `task` with the file open for reading and writing. */
  async use<T>(path: string, task: (file: FileHandle) => Promise<T>): Promise<T> {
    const entry = this.#enter(path);
    try {
      return await task(await entry.file);
    } finally {
      entry.users -= 1;
      await this.#leave(path, entry);
    }
  }

  /** Closes the file once nobody uses it. A later use opens what lies at the path then. */
  async forget(path: string): Promise<void> {
    const entry = this.#entries.get(path);
    if (entry === undefined) return;
    this.#entries.delete(path);
    entry.doomed = true;
    if (entry.users === 0) await closeQuietly(entry);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((path) => this.forget(path)));
  }

  #enter(path: string): Entry {
    const entry = this.#entries.get(path) ?? {
      file: open(path, 'r+'),
      users: 0,
      doomed: false,
    };
    entry.users += 1;
    this.#entries.delete(path);
    this.#entries.set(path, entry);
    return entry;
  }

  async #leave(path: string, entry: Entry): Promise<void> {
    if (entry.users > 0) return;
    if (entry.doomed) return closeQuietly(entry);
    if (await hasFailed(entry)) {
      if (this.#entries.get(path) === entry) this.#entries.delete(path);
      return undefined;
    }
    if (this.#entries.size <= IDLE_FILES_MAX) return undefined;
    for (const [other, candidate] of this.#entries) {
      if (candidate.users === 0) return this.forget(other);
    }
    return undefined;
  }
}

async function hasFailed(entry: Entry): Promise<boolean> {
  try {
    await entry.file;
    return false;
  } catch {
    return true;
  }
}

async function closeQuietly(entry: Entry): Promise<void> {
  try {
    await (await entry.file).close();
  } catch {
    // The file was never opened, or is closed; either way nothing is left open.
  }
}
