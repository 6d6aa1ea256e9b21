import { ANNOUNCE_PEERS_MAX } from '../../proto/hubapi/constants.ts';
import type { BlobSwarm } from './blob-swarm.ts';
import { COMPLETE_PEERS_MAX, OTHER_ZONE_PEERS_MIN, PEER_SAMPLE_MAX } from './constants.ts';

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
 * The peers to tell a member about: random ones, mostly of its own zone, some that hold all, some
 * of other zones so that no zone becomes an island.
 */
export function choosePeers(
  swarm: BlobSwarm,
  asker: { peerId: string; zone: string },
  zoneOf: (peerId: string) => string,
  random: () => number,
): string[] {
  const sampled = swarm.sample(PEER_SAMPLE_MAX, random);
  const drawn = shuffle(
    sampled.filter((peerId) => peerId !== asker.peerId),
    random,
  );
  const sameZone = (peerId: string): boolean => zoneOf(peerId) === asker.zone;
  const whole = drawn.filter((peerId) => swarm.isComplete(peerId));
  const partial = drawn.filter((peerId) => !swarm.isComplete(peerId));
  const chosen = new Set<string>();
  const add = (candidates: string[], max: number): void => {
    for (const peerId of candidates.slice(0, Math.max(0, max))) {
      if (chosen.size < ANNOUNCE_PEERS_MAX) chosen.add(peerId);
    }
  };
  const wholeNear = whole.filter(sameZone);
  const wholeFar = whole.filter((peerId) => !sameZone(peerId));
  add([...wholeNear, ...wholeFar], COMPLETE_PEERS_MAX);
  const far = partial.filter((peerId) => !sameZone(peerId));
  add(far, OTHER_ZONE_PEERS_MIN);
  add(partial.filter(sameZone), ANNOUNCE_PEERS_MAX);
  add([...far, ...whole], ANNOUNCE_PEERS_MAX);
  return shuffle([...chosen], random);
}
