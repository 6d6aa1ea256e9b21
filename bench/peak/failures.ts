import path from 'node:path';
import { sleep } from '../../proto/std/abort.ts';
import type { Fleet } from '../../test/rig/fleet.ts';
import { shuffled } from '../rig/random.ts';
import type { Failure } from './options.ts';
import type { Sampler } from './sampler.ts';

const KILLED_PART = 0.1;
const LIARS_PART = 0.05;
const LOOK_MS = 100;
/** The hub has given all it will when it sent less of the image than this in so many samples. */
const QUIET_SAMPLES = 6;
const QUIET_PART = 0.0005;
const LIAR = path.join(import.meta.dirname, '..', '..', 'test', 'rig', 'misbehaving-agent.ts');

export type Scene = {
  fleet: Fleet;
  random: () => number;
  sampler: Sampler;
  imageBytes: number;
  boundSeconds: number;
  hubCopies: number;
};

/** Before the barrier: some of the agents are replaced by ones that send wrong bytes. */
export async function plantLiars(fleet: Fleet, random: () => number): Promise<string[]> {
  const liars = shuffled(fleet.nodes, random).slice(0, countOf(fleet, LIARS_PART));
  for (const { agent } of liars) {
    // oxlint-disable no-await-in-loop -- one after the other on a small machine
    await agent.stop();
    agent.command = [process.execPath, LIAR];
    await agent.start();
    // oxlint-enable no-await-in-loop
  }
  return liars.map(({ machine }) => machine.name);
}

/**
 * Does what was asked for when its moment has come, and tells in one sentence what it did. The
 * names it adds to `victims` need not finish.
 */
export async function causeFailure(
  failure: Failure,
  scene: Scene,
  victims: Set<string>,
  signal: AbortSignal,
): Promise<string> {
  const { fleet, sampler, boundSeconds, random } = scene;
  const kill = async (names: readonly string[], what: string): Promise<string> => {
    for (const name of names) victims.add(name);
    const agents = fleet.nodes.filter(({ machine }) => names.includes(machine.name));
    await Promise.all(agents.map(({ agent }) => agent.kill()));
    return `killed ${what} (${names.join(', ')}) after ${(boundSeconds / 2).toFixed(1)} s`;
  };
  switch (failure) {
    case 'kill10': {
      await sleep((boundSeconds * 1000) / 2, { signal });
      const order = shuffled(fleet.nodes, random).map(({ machine }) => machine.name);
      return await kill(order.slice(0, countOf(fleet, KILLED_PART)), 'a tenth of the agents');
    }
    case 'busiest': {
      await sleep((boundSeconds * 1000) / 2, { signal });
      const names = fleet.nodes.map(({ machine }) => machine.name);
      const [first] = names.toSorted((a, b) => sampler.sentBy(b) - sampler.sentBy(a));
      return await kill(first === undefined ? [] : [first], 'the agent that had sent most');
    }
    case 'hub': {
      const copies = await hubGave(scene, signal);
      await fleet.hub.kill();
      return `killed the hub when it had sent ${copies.toFixed(2)} copies`;
    }
    case 'zone':
      return 'half of the nodes lie behind a slow line';
    default:
      return 'some agents send wrong bytes';
  }
}

/** Resolves with the copies sent when they are as many as asked for, or all there will be. */
async function hubGave(scene: Omit<Scene, 'fleet'>, signal: AbortSignal): Promise<number> {
  const { sampler, imageBytes, hubCopies } = scene;
  let before = 0;
  let samples = 0;
  for (let quiet = 0; ;) {
    const copies = sampler.sentBy('hub') / imageBytes;
    if (sampler.samples.length > samples) {
      quiet = copies - before < QUIET_PART ? quiet + 1 : 0;
      before = copies;
      samples = sampler.samples.length;
    }
    if (copies >= hubCopies || (copies >= 1 && quiet >= QUIET_SAMPLES)) return copies;
    // oxlint-disable-next-line no-await-in-loop -- there is no event for it
    await sleep(LOOK_MS, { signal });
  }
}

function countOf(fleet: Fleet, part: number): number {
  return Math.max(1, Math.ceil(fleet.nodes.length * part));
}
