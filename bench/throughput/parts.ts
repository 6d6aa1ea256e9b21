import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { cpuSeconds } from '../rig/cpu.ts';
import { touchPages } from '../rig/page-cache.ts';
import { curl } from './peer-path.ts';

const MAIN = path.join(import.meta.dirname, 'part-main.ts');
const PLAIN_MAIN = path.join(import.meta.dirname, 'plain-path-main.ts');
/** As the launcher gives them to the product. */
const V8_FLAGS = [
  '--external-memory-accounted-in-global-limit',
  '--initial-old-space-size=512',
  '--max-semi-space-size=4',
];

/** CPU seconds per byte of the single steps of the data path, each in a process of its own. */
export type Parts = {
  sendTls: number;
  receiveTls: number;
  sendTcp: number;
  receiveTcp: number;
  hash: number;
  write: number;
  http: number;
  /** Seconds that the whole path takes over plain TCP, without the product. */
  plainSeconds: number;
};

type Core = 'sender' | 'receiver';

function start(core: Core, args: readonly string[], main = MAIN): ChildProcess {
  const pinned = ['-c', core === 'sender' ? '0' : '1', process.execPath, ...V8_FLAGS, main];
  return spawn('taskset', [...pinned, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function lineOf(child: ChildProcess, word: string): Promise<number> {
  if (child.stdout === null) throw new Error('no output to read');
  for await (const line of createInterface({ input: child.stdout })) {
    const [first, value] = line.split(' ');
    if (first === word) return Number(value);
  }
  throw new Error(`a part of the bench ended without saying "${word}"`);
}

async function serving<T>(
  core: Core,
  args: readonly string[],
  use: (port: number) => Promise<T>,
  main = MAIN,
): Promise<{ result: T; cpu: number }> {
  const child = start(core, args, main);
  try {
    const port = await lineOf(child, 'ready');
    const { pid } = child;
    if (pid === undefined) throw new Error('a part of the bench did not start');
    // A first pass warms the code and the page cache.
    await use(port);
    const before = cpuSeconds(pid);
    const result = await use(port);
    return { result, cpu: cpuSeconds(pid) - before };
  } finally {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
}

function run(args: readonly string[]): Promise<number> {
  return lineOf(start('receiver', args), 'cpu');
}

/** Measures each step once, over `size` bytes of `file`; `scratch` is written over. */
export async function measureParts(file: string, scratch: string, size: number): Promise<Parts> {
  const bytes = String(size);
  const pair = async (kind: 'tls' | 'tcp'): Promise<{ send: number; receive: number }> => {
    const use = (port: number): Promise<number> =>
      run([`receive-${kind}`, file, bytes, String(port)]);
    const { result, cpu } = await serving('sender', [`send-${kind}`, file, bytes], use);
    return { send: cpu / size, receive: result / size };
  };
  const tls = await pair('tls');
  const tcp = await pair('tcp');
  const hash = (await run(['hash', file, bytes])) / size;
  // As before a pass of the whole path: else the parts would look dearer than they are.
  await touchPages(path.dirname(scratch), size);
  const write = (await run(['write', scratch, bytes])) / size;
  const http = await serving('receiver', ['serve-http', file, bytes], (port) =>
    curl(`http://127.0.0.1:${port}/`, size),
  );
  await touchPages(path.dirname(scratch), size);
  const plain = await serving('sender', ['send-tcp', file, bytes], (port) =>
    serving(
      'receiver',
      [bytes, scratch, String(port)],
      (relay) => curl(`http://127.0.0.1:${relay}/`, size),
      PLAIN_MAIN,
    ),
  );
  return {
    sendTls: tls.send,
    receiveTls: tls.receive,
    sendTcp: tcp.send,
    receiveTcp: tcp.receive,
    hash,
    write,
    http: http.cpu / size,
    plainSeconds: plain.result.result,
  };
}
