import { readFile, writeFile } from 'node:fs/promises';
import type { Program } from './flotilla.ts';

const KIB = 1024;

/** How far the memory of a running program has risen above what it held at the beginning. */
export class MemoryWatch {
  readonly #pid: number;
  readonly #startBytes: number;

  private constructor(pid: number, startBytes: number) {
    this.#pid = pid;
    this.#startBytes = startBytes;
  }

  static async start(program: Program): Promise<MemoryWatch> {
    const { pid } = program.running;
    // Makes the kernel forget the highest resident size so far: see proc(5).
    await writeFile(`/proc/${pid}/clear_refs`, '5');
    return new MemoryWatch(pid, await statusBytes(pid, 'VmRSS'));
  }

  /** The highest resident size since the start, above the one at the start. */
  async risenBytes(): Promise<number> {
    return (await statusBytes(this.#pid, 'VmHWM')) - this.#startBytes;
  }
}

async function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status);
  if (!match) throw new Error(`process ${pid} has no ${field}: ${status}`);
  return Number(match[1]) * KIB;
}
