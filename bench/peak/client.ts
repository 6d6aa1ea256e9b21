import path from 'node:path';
import type { Machine } from '../../test/rig/network.ts';
import type { PushTarget } from '../demo/push.ts';
import { Client } from '../rig/client.ts';

const MAIN = path.join(import.meta.dirname, 'client-main.ts');
const NS_PER_MS = 1e6;

export type PullTask = {
  kind: 'pull';
  mirror: string;
  namespace: string;
  repository: string;
  tag: string;
};

export type PushTask = PushTarget & {
  kind: 'push';
  layers: readonly { fileBytes: number; keyHex: string }[];
};

/** Plain TCP: the sender says `bytes` once when it listens, then serves one connection. */
export type PlainTask = {
  kind: 'plain';
  role: 'send' | 'receive';
  /** Of the sender. */
  host: string;
  port: number;
  bytes: number;
};

export type ClientTask = PullTask | PushTask | PlainTask;

/** What comes of a task: the bytes, and when the last was here and its digest right. */
export type TaskDone = { bytes: number; atMs: number };

/** A client that pulls or pushes when told. */
export type PeakClient = Client<ClientTask, TaskDone>;

/** A clock that all processes of this machine share, in milliseconds. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / NS_PER_MS;
}

/** Has a client in the network of one machine wait for a task. */
export function startClient(machine: Machine): Promise<PeakClient> {
  return Client.start(machine, MAIN);
}
