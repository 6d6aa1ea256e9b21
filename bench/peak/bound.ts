import type { PeakOptions } from './options.ts';

export type Links = {
  hubBytesPerSecond: number;
  nodeBytesPerSecond: number;
  /** The line to the second zone, if there is one. */
  trunkBytesPerSecond?: number | undefined;
};

const BYTES_PER_MBIT = 1e6 / 8;
/** Part of the nodes that a rolling update renews at a time. */
const ROLLING_PART = 0.2;
/** Rate of the line between the zones, in parts of a node's link. */
const TRUNK_PART = 0.5;

/** The nominal rates of a run. */
export function linksOf(options: PeakOptions): Links {
  const nodeBytesPerSecond = options.rateMbit * BYTES_PER_MBIT;
  const slow = options.failure === 'zone';
  return {
    hubBytesPerSecond: options.hubRateMbit * BYTES_PER_MBIT,
    nodeBytesPerSecond,
    trunkBytesPerSecond: slow ? trunkMbit(options) * BYTES_PER_MBIT : undefined,
  };
}

/** Rate of the slow line between the zones, each way. */
export function trunkMbit(options: PeakOptions): number {
  return options.rateMbit * TRUNK_PART;
}

/** How many nodes a rolling update renews at a time. */
export function waveSize(agents: number): number {
  return Math.max(1, Math.ceil(agents * ROLLING_PART));
}

/**
 * The least seconds in which `nodes` nodes can get `bytes` bytes that only the hub has: the fluid
 * bound max{S/us, S/d, N*S/(us + sum of ui)} over nominal rates (Kumar and Ross, 2006), and S/t for
 * a line the bytes have to cross. `helpers`: nodes that have them already.
 */
export function fluidBound(
  bytes: number,
  links: Links,
  swarm: { nodes: number; helpers?: number },
): number {
  const { hubBytesPerSecond: hub, nodeBytesPerSecond: node, trunkBytesPerSecond } = links;
  const helpers = swarm.helpers ?? 0;
  const together = hub + (swarm.nodes + helpers) * node;
  return Math.max(
    // With helpers the bytes need not come out of the hub once more.
    helpers > 0 ? 0 : bytes / hub,
    bytes / node,
    (swarm.nodes * bytes) / together,
    trunkBytesPerSecond === undefined ? 0 : bytes / trunkBytesPerSecond,
  );
}

/** Names of the nodes behind the slow line, if there is one. */
export function farNodes({ agents, failure }: PeakOptions): string[] {
  if (failure !== 'zone') return [];
  return Array.from({ length: agents }, (_, index) => `n${index + 1}`).slice(Math.ceil(agents / 2));
}

/** The least seconds from the barrier until the last node has the image, for a way of arriving. */
export function boundSeconds(options: PeakOptions, imageBytes: number): number {
  const links = linksOf(options);
  const { agents, arrivals } = options;
  const whole = fluidBound(imageBytes, links, { nodes: agents });
  if (arrivals === 'ramp') {
    const last = rampSeconds(options, imageBytes) + imageBytes / links.nodeBytesPerSecond;
    return Math.max(whole, last);
  }
  if (arrivals !== 'rolling') return whole;
  // Of all waves only the first behind the slow line has to wait for it.
  const { trunkBytesPerSecond: trunk = Number.POSITIVE_INFINITY, ...open } = links;
  let seconds = 0;
  for (let done = 0; done < agents; done += waveSize(agents)) {
    const nodes = Math.min(waveSize(agents), agents - done);
    seconds += fluidBound(imageBytes, open, { nodes, helpers: done });
  }
  return Math.max(seconds, imageBytes / trunk);
}

/** Time between the first and the last arrival of a ramp: as long as one transfer takes. */
export function rampSeconds(options: PeakOptions, imageBytes: number): number {
  return options.agents < 2 ? 0 : imageBytes / linksOf(options).nodeBytesPerSecond;
}

/** The least seconds from the own start of the client on this node until it has the image. */
export function clientBoundSeconds(options: PeakOptions, imageBytes: number, node: string): number {
  const { trunkBytesPerSecond, ...open } = linksOf(options);
  const isAtOnce = options.arrivals === 'all' || options.arrivals === 'second-image';
  if (!isAtOnce) return imageBytes / open.nodeBytesPerSecond;
  const links = farNodes(options).includes(node) ? { ...open, trunkBytesPerSecond } : open;
  return fluidBound(imageBytes, links, { nodes: options.agents });
}
