import { randomUUID } from 'node:crypto';
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { freemem } from 'node:os';
import path from 'node:path';

/** A file system in memory. */
const FOLDER = '/dev/shm';
const PART_BYTES = 32 * 1024 ** 2;
const PIECE = Buffer.alloc(1024 ** 2, 1);
/** Of the memory that is free; the rest is for whatever else runs. */
const FREE_SHARE = 0.5;

/**
 * Memory that is touched before anything is measured. The host of a virtual machine may give a page
 * only at its first touch, which costs seconds of CPU per GiB, and take it back soon after it is
 * free: without this a bench that fills files measures the host. It is held in files without a
 * name, so that nothing is left of it whatever ends this process.
 */
export class BackedMemory implements Disposable {
  readonly #parts: number[] = [];
  #freedBytes = 0;

  private constructor() {}

  /**
   * Takes up to so many bytes: less where the machine has no more, none without such a folder.
   * @throws errors of node:fs
   */
  static async take(bytes: number, { folder = FOLDER } = {}): Promise<BackedMemory> {
    const room = await roomIn(folder);
    const memory = new BackedMemory();
    const most = Math.min(bytes, FREE_SHARE * Math.min(freemem(), room));
    while (memory.heldBytes + PART_BYTES <= most) memory.#parts.push(takePart(folder));
    return memory;
  }

  get heldBytes(): number {
    return this.#parts.length * PART_BYTES;
  }

  /** Gives back what is still missing to so many bytes since the begin. */
  freeTo(bytes: number): void {
    while (this.#freedBytes < bytes) {
      const part = this.#parts.pop();
      if (part === undefined) return;
      closeSync(part);
      this.#freedBytes += PART_BYTES;
    }
  }

  [Symbol.dispose](): void {
    this.freeTo(Number.POSITIVE_INFINITY);
  }
}

async function roomIn(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

function takePart(folder: string): number {
  const file = path.join(folder, `flotilla-bench-${randomUUID()}`);
  const part = openSync(file, 'wx');
  unlinkSync(file);
  for (let at = 0; at < PART_BYTES; at += PIECE.length) writeSync(part, PIECE);
  return part;
}
