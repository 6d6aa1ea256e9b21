import { formatByteSize } from '../../proto/std/byte-size.ts';
import { boundSeconds } from './scenario.ts';
import type { Scenario } from './scenario.ts';
import type { PeakResult } from './peak.ts';

/**
 * One run in figures. An efficiency is the bound over the time from a node's own arrival to its
 * last chunk: that of the worst node, and what 50, 99 and 99.9 of 100 nodes reach at least.
 */
export type PeakFigures = {
  agents: number;
  efficiency: number;
  efficiencyP50: number;
  efficiencyP99: number;
  efficiencyP999: number;
  /** Bytes that left the hub, in blobs. */
  copies: number;
  /** Bytes received beyond those that were of use, as a part of these. */
  duplicateRatio: number;
  /** Bytes that passed between zones, in blobs. */
  copiesAcrossZones: number;
  /** From the first arrival on. */
  secondsToLast: number;
  boundSeconds: number;
  /** Of one plain transfer to the nominal rate: links carry nothing but payload here. */
  goodputRatio: number;
};

/** A run, what it came to, and how long it took on the clock. */
export type SeedRun = { seed: number; figures: PeakFigures; events: number; wallSeconds: number };

export function figuresOf(scenario: Scenario, result: PeakResult): PeakFigures {
  const bound = boundSeconds(scenario);
  const sorted = result.durations.toSorted();
  const reachedBy = (part: number): number => {
    const at = Math.min(sorted.length, Math.ceil(sorted.length * part)) - 1;
    return (bound * 1000) / (sorted[at] ?? Number.NaN);
  };
  return {
    agents: scenario.nodes,
    efficiency: reachedBy(1),
    efficiencyP50: reachedBy(0.5),
    efficiencyP99: reachedBy(0.99),
    efficiencyP999: reachedBy(0.999),
    copies: result.hubBytes / scenario.sizeBytes,
    duplicateRatio: (result.receivedBytes - result.usefulBytes) / result.usefulBytes,
    copiesAcrossZones: result.acrossBytes / scenario.sizeBytes,
    secondsToLast: result.lastMs / 1000,
    boundSeconds: bound,
    goodputRatio: 1,
  };
}

const HIGH_IS_BAD = ['copies', 'duplicateRatio', 'copiesAcrossZones', 'secondsToLast'] as const;
const LOW_IS_BAD = ['efficiency', 'efficiencyP50', 'efficiencyP99', 'efficiencyP999'] as const;

/** The worst of each figure. There is at least one run. */
export function worstOf(runs: readonly PeakFigures[]): PeakFigures {
  const [first] = runs;
  if (first === undefined) throw new RangeError('no run');
  const worst = { ...first };
  for (const key of HIGH_IS_BAD) worst[key] = Math.max(...runs.map((run) => run[key]));
  for (const key of LOW_IS_BAD) worst[key] = Math.min(...runs.map((run) => run[key]));
  return worst;
}

const COLUMNS = [
  ['p50', (run: PeakFigures) => run.efficiencyP50.toFixed(3)],
  ['p99', (run: PeakFigures) => run.efficiencyP99.toFixed(3)],
  ['p99.9', (run: PeakFigures) => run.efficiencyP999.toFixed(3)],
  ['worst', (run: PeakFigures) => run.efficiency.toFixed(3)],
  ['copies', (run: PeakFigures) => run.copies.toFixed(3)],
  ['duplicates', (run: PeakFigures) => `${(run.duplicateRatio * 100).toFixed(2)} %`],
  ['across zones', (run: PeakFigures) => run.copiesAcrossZones.toFixed(1)],
  ['last', (run: PeakFigures) => `${run.secondsToLast.toFixed(1)} s`],
] as const;

/** The closing table as plain text. */
export function renderTable(scenario: Scenario, runs: readonly SeedRun[]): string {
  const worst = worstOf(runs.map(({ figures }) => figures));
  const rows = [
    ['seed', ...COLUMNS.map(([name]) => name)],
    ...runs.map(({ seed, figures }) => [String(seed), ...COLUMNS.map(([, text]) => text(figures))]),
    ['worst', ...COLUMNS.map(([, text]) => text(worst))],
  ];
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((r) => r[at]?.length ?? 0)));
  const lines = rows.map((row) => row.map((text, at) => text.padStart(widths[at] ?? 0)).join('  '));
  const what = `${scenario.nodes} agents, ${formatByteSize(scenario.sizeBytes)}`;
  const bound = `no node can be faster than ${worst.boundSeconds.toFixed(1)} s`;
  return [`${what}: ${bound}`, 'efficiency: that time over the time a node took', ...lines].join(
    '\n',
  );
}
