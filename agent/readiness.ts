import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import type { Check } from '../proto/ops/ops-server.ts';
import { messageOf } from '../proto/std/errors.ts';
import type { FleetStatus } from './fleet/fleet.ts';
import type { AgentConfig } from './options.ts';

/** While a node joins for the first time it is not ready, for at most this long after its start. */
const JOIN_GRACE_MS = 5_000;

/** What readiness is made of, besides the store. */
export type AgentHealth = {
  draining: boolean;
  /** undefined: in no fleet. */
  status: FleetStatus | undefined;
  inSwarm: boolean;
  /** Time since the start. */
  upMs: number;
};

/** Ready means that a pull through the mirror is worth a try; the rest is told as a reason. */
export async function readiness(config: AgentConfig, parts: AgentHealth): Promise<Check> {
  const { status, inSwarm } = parts;
  const reasons: string[] = [];
  if (config.hub.url !== undefined && status === undefined) reasons.push('in no fleet');
  const joining =
    status?.enrolled === false && status.lastError === undefined && parts.upMs < JOIN_GRACE_MS;
  if (status?.enrolled === false) {
    reasons.push(`not enrolled yet: ${status.lastError ?? 'asking the hub'}`);
  } else if (status?.online === false) {
    reasons.push(`hub does not answer: ${status.lastError ?? 'no call yet'}`);
  }
  if (status !== undefined && !inSwarm) reasons.push('no swarm');
  const unwritable = await unwritableReason(path.join(config.store.dataDir, 'content'));
  if (unwritable !== undefined) reasons.push(unwritable);
  if (parts.draining) reasons.push('draining');
  return { ok: unwritable === undefined && !parts.draining && !joining, reasons };
}

async function unwritableReason(folder: string): Promise<string | undefined> {
  try {
    await access(folder, constants.W_OK);
    return undefined;
  } catch (err) {
    return `store is not writable: ${messageOf(err)}`;
  }
}
