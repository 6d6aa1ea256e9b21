import {
  FAR_LINKS_MAX,
  LINKS_MAX,
  NEAR_LINKS_MAX,
  NEAR_LINKS_MIN,
  SPARE_PEERS_MAX,
} from './constants.ts';

/** Peers linked, by zone: ours, and others. */
export type Linked = { near: number; far: number };

/** Whether there are more peers of other zones than are worth their places. */
export function hasFarSurplus(linked: Linked): boolean {
  return linked.near >= NEAR_LINKS_MIN && linked.far > FAR_LINKS_MAX;
}

/**
 * Which of the candidates to link to now, and which to keep for when a place is free: at most
 * SPARE_PEERS_MAX. A few places are for other zones alone; with hardly any near ones they have
 * more.
 */
export function chooseLinks<T>(
  candidates: readonly T[],
  linked: Linked,
  isNear: (candidate: T) => boolean,
): { now: T[]; spare: T[] } {
  const near = candidates.filter(isNear);
  const far = candidates.filter((candidate) => !isNear(candidate));
  const now: T[] = [];
  let nearCount = linked.near;
  const room = (): number => LINKS_MAX - nearCount - linked.far;
  const nearRoom = Math.min(room(), NEAR_LINKS_MAX - nearCount);
  now.push(...near.splice(0, Math.max(0, nearRoom)));
  nearCount += now.length;
  const farMax = nearCount < NEAR_LINKS_MIN ? LINKS_MAX - NEAR_LINKS_MIN : FAR_LINKS_MAX;
  now.push(...far.splice(0, Math.max(0, Math.min(room(), farMax - linked.far))));
  return { now, spare: [...near, ...far].slice(0, SPARE_PEERS_MAX) };
}
