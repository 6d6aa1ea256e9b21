import type { Outcome } from './arrivals.ts';
import { boundSeconds, clientBoundSeconds, linksOf } from './bound.ts';
import type { PeakOptions } from './options.ts';
import { payloadReceived, payloadSent } from './sampler.ts';
import type { Sample } from './sampler.ts';

/** What `--json` writes. */
export type Figures = {
  /** Agents that were to finish and did. */
  agents: number;
  /** Bound by time of the last. */
  efficiency: number;
  /** What half of the clients, and 99 % of them, reach at least, each by its own time. */
  efficiencyP50: number;
  efficiencyP99: number;
  /** Payload that left the hub, in units of the image. */
  copies: number;
  /** Payload the agents received beyond the image, in parts of it: repeats and all messages. */
  duplicateRatio: number;
  secondsToLast: number;
  boundSeconds: number;
  /** Rate of one plain TCP transfer by the nominal rate of the slower link. */
  goodputRatio: number;
};

/** What was seen; `imageBytes` are those that were not on the nodes before. */
export type Measured = {
  imageBytes: number;
  outcomes: readonly Outcome[];
  samples: readonly Sample[];
  /** Bytes per second of one plain transfer. */
  plainGoodput: number;
};

/**
 * The figures of a run, over the clients that had to finish.
 *
 * @throws Error when one of them did not
 */
export function figuresOf(options: PeakOptions, measured: Measured): Figures {
  const { outcomes, samples, imageBytes } = measured;
  const failed = outcomes.find(({ failure }) => failure !== undefined);
  if (failed) throw new Error(`${failed.name} did not get the image: ${failed.failure}`);
  const first = samples.at(0)?.traffic;
  const last = samples.at(-1)?.traffic;
  const sent = payloadSent(last?.get('hub')) - payloadSent(first?.get('hub'));
  const received = outcomes.reduce(
    (sum, { name }) => sum + payloadReceived(last?.get(name)) - payloadReceived(first?.get(name)),
    0,
  );
  const needed = outcomes.length * imageBytes;
  const bound = boundSeconds(options, imageBytes);
  const efficiencies = outcomes
    .map(({ name, startSeconds, endSeconds }) => {
      return clientBoundSeconds(options, imageBytes, name) / (endSeconds - startSeconds);
    })
    .sort((a, b) => b - a);
  const secondsToLast = Math.max(...outcomes.map(({ endSeconds }) => endSeconds));
  const { hubBytesPerSecond, nodeBytesPerSecond } = linksOf(options);
  return {
    agents: outcomes.length,
    efficiency: bound / secondsToLast,
    efficiencyP50: reachedBy(efficiencies, 0.5),
    efficiencyP99: reachedBy(efficiencies, 0.99),
    copies: sent / imageBytes,
    duplicateRatio: (received - needed) / needed,
    secondsToLast,
    boundSeconds: bound,
    goodputRatio: measured.plainGoodput / Math.min(hubBytesPerSecond, nodeBytesPerSecond),
  };
}

/** The value that this part of the values, given in falling order, reach at least. */
function reachedBy(falling: readonly number[], part: number): number {
  return falling[Math.max(0, Math.ceil(falling.length * part) - 1)] ?? Number.NaN;
}

/** The figures for people. */
export function renderFigures(figures: Figures): string {
  const f = figures;
  const best = f.boundSeconds / f.goodputRatio;
  const lines: [string, string][] = [
    [seconds(f.secondsToLast), `until the last of ${f.agents} clients had checked its last byte`],
    [seconds(f.boundSeconds), 'is the bound from the nominal rates of the links'],
    [percent(f.goodputRatio), 'of its link is what one plain TCP transfer gets'],
    [seconds(best), 'is the bound at that rate'],
    [
      percent(f.efficiency),
      `of the bound, last client (${percent(best / f.secondsToLast)} at that rate)`,
    ],
    [percent(f.efficiencyP50), 'of its bound is reached by half of the clients'],
    [percent(f.efficiencyP99), 'of its bound is reached by 99 % of the clients'],
    [f.copies.toFixed(3), 'copies of the image left the hub'],
    [percent(f.duplicateRatio), 'more was received than needed, all messages counted'],
  ];
  return lines.map(([value, text]) => `${value.padStart(10)}  ${text}`).join('\n');
}

function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}

function seconds(value: number): string {
  return `${value.toFixed(2)} s`;
}
