import { existsSync, readdirSync, readFileSync } from 'node:fs';

const LOOK_MS = 1000;
const PPID_FIELD = 1;

type Process = { pid: number; parent: number; words: readonly string[] };

/**
 * Ends test files that take longer than `limitMs` with every process they started: the runner of
 * Node.js bounds single tests, and waits without end for a file that is done and does not exit.
 * Looks at the children of this process in /proc, so that it does nothing without one.
 */
export function limitFiles(
  files: readonly string[],
  limitMs: number,
  onLate: (file: string) => void,
): Disposable {
  const known = new Set(files);
  const sinceMs = new Map<number, number>();
  const look = (): void => {
    const all = processes();
    const nowMs = performance.now();
    for (const { pid, parent, words } of all) {
      const file = words.find((word) => known.has(word));
      if (parent !== process.pid || file === undefined) continue;
      const since = sinceMs.get(pid) ?? nowMs;
      sinceMs.set(pid, since);
      if (nowMs - since < limitMs) continue;
      sinceMs.delete(pid);
      endTree(pid, all);
      onLate(file);
    }
  };
  const timer = setInterval(look, LOOK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function endTree(root: number, all: readonly Process[]): void {
  const tree = [root];
  // Grows while it is gone through.
  for (const pid of tree) {
    for (const child of all) if (child.parent === pid) tree.push(child.pid);
  }
  for (const pid of tree) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

function processes(): Process[] {
  if (!existsSync('/proc')) return [];
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
        // After the command in parentheses, which may hold spaces: state, parent.
        const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[PPID_FIELD]);
        const words = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        return [{ pid: Number(name), parent, words }];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}
