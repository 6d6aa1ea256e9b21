/** A load peak: everybody pulls one blob. Nodes have the same links up and down. */
export type Scenario = {
  nodes: number;
  sizeBytes: number;
  /** Runs, with seeds 1 to this. */
  seeds: number;
  /** Nodes are spread evenly over the zones; the hub stands in the first. */
  zones: number;
  nodeBitsPerSecond: number;
  hubBitsPerSecond: number;
  /** Between each two zones, each way. */
  trunkBitsPerSecond: number;
  rttMs: number;
  rttAcrossMs: number;
  /** The nodes begin at random moments within this. */
  arrivalsMs: number;
  /** Part of the nodes that vanish on the way; a new, empty one begins at the same moment. */
  churn: number;
  /** Part of those that vanish without a reset of their connections. */
  silentCrashes: number;
  /** An agent's time for a control message. */
  controlMs: number;
  /** The hub's time for an announcement; it handles one after the other. */
  announceMs: number;
  /** From the last byte of a chunk to its being verified and stored. */
  storeMs: number;
  /** Between two computations of all rates. */
  epochMs: number;
  /** False: no tracker answers and no peer is known. */
  tracker?: boolean;
};

/** The peak that is simulated unless asked otherwise. */
export const PEAK: Readonly<Scenario> = {
  nodes: 200,
  sizeBytes: 10 * 1024 ** 3,
  seeds: 5,
  zones: 3,
  nodeBitsPerSecond: 1_000_000_000,
  hubBitsPerSecond: 10_000_000_000,
  trunkBitsPerSecond: 10_000_000_000,
  rttMs: 0.5,
  rttAcrossMs: 5,
  arrivalsMs: 5000,
  churn: 0.01,
  silentCrashes: 0.5,
  controlMs: 0.5,
  announceMs: 0.25,
  storeMs: 5,
  epochMs: 20,
};

/** Bytes per millisecond. */
export function bytesPerMs(bitsPerSecond: number): number {
  return bitsPerSecond / 8_000;
}

/**
 * The least time in seconds in which all nodes can have all bytes, from nominal rates
 * (Kumar and Ross): one copy has to leave the hub, one has to reach the slowest node, and all
 * uplinks together have to carry all copies.
 */
export function boundSeconds(s: Scenario): number {
  const { sizeBytes, nodes } = s;
  const hub = s.hubBitsPerSecond / 8;
  const node = s.nodeBitsPerSecond / 8;
  const everybody = s.tracker === false ? hub : hub + nodes * node;
  return Math.max(sizeBytes / hub, sizeBytes / node, (nodes * sizeBytes) / everybody);
}
