import { seededRandom } from '../rig/random.ts';
import { median } from '../rig/cpu.ts';
import { Peak } from '../simulate/peak.ts';
import { PEAK } from '../simulate/scenario.ts';
import type { Scenario } from '../simulate/scenario.ts';
import { trunkMbit } from './bound.ts';
import type { PeakOptions } from './options.ts';

/** Runs with other random choices; the middle one counts. */
const RUNS = 5;
const BITS_PER_MBIT = 1e6;
/** Between two networks of one machine. */
const RTT_MS = 0.2;
/** What no link is held up by. */
const FREE_BITS_PER_SECOND = 1e12;
/** At this distance a simulation still tells what agents do on a machine that is not full. */
const APART_AIM = 0.15;
/** With less of the machine idle, the links may not have been what was measured. */
export const IDLE_PART_MIN = 0.3;

/** A real run beside the simulation of the same peak. */
export type Comparison = {
  simulatedSeconds: number;
  /** How much longer the real run took, in parts of the simulated one; negative: faster. */
  apart: number;
};

/**
 * The peak of these options for the simulator, or undefined when it knows no such thing: it has all
 * nodes begin at once with nothing, and nothing fails but the line to a zone. `goodputRatio`: what
 * one plain transfer gets of its link, since simulated links carry no headers.
 */
export function scenarioOf(
  options: PeakOptions,
  run: { imageBytes: number; goodputRatio: number },
): Scenario | undefined {
  const isApart = options.failure === 'zone';
  if (options.arrivals !== 'all' || (options.failure !== undefined && !isApart)) return undefined;
  const bitsPerSecond = (mbit: number): number => mbit * BITS_PER_MBIT * run.goodputRatio;
  return {
    ...PEAK,
    nodes: options.agents,
    sizeBytes: run.imageBytes,
    seeds: RUNS,
    zones: isApart ? 2 : 1,
    nodeBitsPerSecond: bitsPerSecond(options.rateMbit),
    hubBitsPerSecond: bitsPerSecond(options.hubRateMbit),
    trunkBitsPerSecond: isApart ? bitsPerSecond(trunkMbit(options)) : FREE_BITS_PER_SECOND,
    rttMs: RTT_MS,
    rttAcrossMs: RTT_MS,
    arrivalsMs: 0,
    churn: 0,
  };
}

/** Simulates the peak, and says how far the real run is from it. */
export function compare(scenario: Scenario, realSeconds: number, seed: number): Comparison {
  const random = seededRandom(seed);
  const seconds = Array.from({ length: scenario.seeds }, () => {
    const run = new Peak(scenario, Math.floor(random() * 2 ** 32)).run();
    return run.lastMs / 1000;
  });
  const simulatedSeconds = median(seconds);
  return { simulatedSeconds, apart: realSeconds / simulatedSeconds - 1 };
}

/** For people: what the simulator says, and whether the two should agree. */
export function renderComparison(
  comparison: Comparison | undefined,
  idlePart: number,
): readonly string[] {
  if (comparison === undefined) {
    return ['The simulator knows no such arrivals and failures: nothing to compare with.'];
  }
  const { simulatedSeconds, apart } = comparison;
  const distance = `${(Math.abs(apart) * 100).toFixed(1)} % ${apart < 0 ? 'faster' : 'slower'}`;
  const aim = `${(APART_AIM * 100).toFixed(0)} %`;
  const idle = `${Math.round(idlePart * 100)} % of the machine was idle`;
  const isFull = idlePart < IDLE_PART_MIN;
  const verdict = isFull
    ? `only ${idle}, so this says nothing about the simulator`
    : `${idle}, and ${Math.abs(apart) <= APART_AIM ? 'that is within' : 'the aim is'} ${aim}`;
  return [
    `Simulated, the same planners and tracker need ${simulatedSeconds.toFixed(2)} s.`,
    `The real run was ${distance}; ${verdict}.`,
  ];
}
