import { ANNOUNCE_PEERS_MAX } from '../../proto/hubapi/constants.ts';
import type { BlobSwarm } from './blob-swarm.ts';
import { COMPLETE_PEERS_MAX, OTHER_ZONE_PEERS_MIN, OWN_ZONE_PEERS_MIN } from './constants.ts';

/** The items in random order. */
function shuffle(items: string[], random: () => number): string[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const [a, b] = [items[i], items[j]];
    if (a !== undefined && b !== undefined) [items[i], items[j]] = [b, a];
  }
  return items;
}

/**
 * The peers to tell a member about: mostly of its own zone, some that hold all, and those first
 * that were named least, so that late-comers are asked as much as early birds. Other zones are for
 * feeders, through whom each chunk enters a zone about once, and for members with few neighbours.
 */
export function choosePeers(swarm: BlobSwarm, peerId: string, random: () => number): string[] {
  const byNames = (peers: string[]): string[] =>
    shuffle(peers, random)
      .filter((other) => other !== peerId)
      .map((other) => ({ other, times: swarm.timesNamed(other) }))
      .sort((a, b) => a.times - b.times)
      .map(({ other }) => other);
  const near = byNames(swarm.sampleNear(peerId, random));
  const crossing = swarm.isFeeder(peerId) || near.length < OWN_ZONE_PEERS_MIN;
  const far = crossing ? byNames(swarm.sampleFar(peerId, random)) : [];
  const chosen = new Set<string>();
  const add = (candidates: string[], max: number): void => {
    for (const other of candidates.slice(0, Math.max(0, max))) {
      if (chosen.size < ANNOUNCE_PEERS_MAX) chosen.add(other);
    }
  };
  const isWhole = (other: string): boolean => swarm.isComplete(other);
  const isPartial = (other: string): boolean => !swarm.isComplete(other);
  add(near.filter(isWhole), COMPLETE_PEERS_MAX);
  add(far.filter(isWhole), OTHER_ZONE_PEERS_MIN);
  add(far.filter(isPartial), OTHER_ZONE_PEERS_MIN);
  add(near.filter(isPartial), ANNOUNCE_PEERS_MAX);
  add([...near.filter(isWhole), ...far], ANNOUNCE_PEERS_MAX);
  for (const other of chosen) swarm.named(other);
  return shuffle([...chosen], random);
}
