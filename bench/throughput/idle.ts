import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { sleep } from '../../proto/std/abort.ts';
import { residentBytes } from '../rig/cpu.ts';
import { pidOf, type PeerPath, type Variant } from './peer-path.ts';

const PEERS = 50;
/** Both sides get as long after the last connection, for garbage to go. */
const SETTLE_MS = 15_000;
const NODE = 'idle';

const CROWD = path.join(import.meta.dirname, 'crowd-main.ts');
const BARE = path.join(import.meta.dirname, 'bare-main.ts');

/** Resident bytes with 50 peers of an idle agent, less those of a libp2p host with 50 peers. */
export async function idleAboveBareLibp2p(peers: PeerPath, variant: Variant): Promise<number> {
  return (await idleAgent(peers, variant)) - (await idleBareHost());
}

async function idleAgent(peers: PeerPath, variant: Variant): Promise<number> {
  const agent = await peers.agent(NODE, variant);
  const crowd = await startNode(CROWD, [...peers.joining, String(PEERS), NODE]);
  try {
    await sleep(SETTLE_MS);
    return residentBytes(pidOf(agent)).now;
  } finally {
    await stopNode(crowd.child);
    await peers.remove(agent);
  }
}

async function idleBareHost(): Promise<number> {
  const host = await startNode(BARE, []);
  const crowd = await startNode(BARE, [host.said.split(' ')[1] ?? '', String(PEERS)]);
  try {
    await sleep(SETTLE_MS);
    return residentBytes(host.child.pid ?? 0).now;
  } finally {
    await stopNode(crowd.child);
    await stopNode(host.child);
  }
}

async function startNode(
  main: string,
  args: readonly string[],
): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('ready')) return { child, said: line };
  }
  throw new Error(`${path.basename(main)} ended without saying that it is ready`);
}

async function stopNode(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}
