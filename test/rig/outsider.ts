import path from 'node:path';
import { Value } from 'typebox/value';
import { loadIdentity } from '../../agent/fleet/identity.ts';
import { ADMIN } from './fleet-config.ts';
import { createJoinToken } from './fleet.ts';
import type { Fleet, FleetNode, Published } from './fleet.ts';
import { HUB_PORT } from './flotilla.ts';
import { OutsiderReport } from './outsider-task.ts';
import type { OutsiderTask } from './outsider-task.ts';
import { run } from './processes.ts';

const MAIN = path.join(import.meta.dirname, 'outsider-main.ts');
const SWARM_PORT = 7412;
const TIMEOUT_MS = 60_000;

/** Starts an outsider on the machine of one node, against the agent of another one or the hub. */
export async function runOutsider(
  fleet: Fleet,
  attack: OutsiderTask['attack'],
  trial: { from: FleetNode; victim: FleetNode; image: Published; other: Published },
): Promise<OutsiderReport> {
  const { from, victim, image, other } = trial;
  const { username, password } = ADMIN;
  const task: OutsiderTask = {
    attack,
    victim: {
      address: victim.machine.address,
      port: SWARM_PORT,
      peerId: (await loadIdentity(path.join(victim.agent.folder, 'data', 'node'))).peerId,
    },
    image: { repository: image.repository, manifest: image.manifestDigest },
    layer: image.layers.at(-1)?.digest ?? '',
    other: { repository: other.repository, manifest: other.manifestDigest },
    hubUrl: `http://${fleet.hub.machine.urlHost}:${HUB_PORT}`,
    joinToken: await createJoinToken(fleet.hub),
    address: from.machine.address,
    authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
    folder: await fleet.scratch.make('outsiders', attack),
  };
  const command = from.machine.inside([process.execPath, MAIN]);
  const { stdout } = await run(command, { input: JSON.stringify(task), timeoutMs: TIMEOUT_MS });
  return Value.Parse(OutsiderReport, JSON.parse(stdout));
}
