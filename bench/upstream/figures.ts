import { median } from '../rig/cpu.ts';

/** What a client saw of one pull, milliseconds. */
export type Pull = {
  /** From the first request to the last byte of the layer. */
  totalMs: number;
  /** Of the layer, since it was asked for. */
  firstByteMs: number;
  /** Until the first MiB of the layer was there. */
  firstChunkMs: number;
};

/** The three ways a layer is pulled in each round. */
export type Way = 'straight' | 'cold' | 'warm';
export type Samples = Record<Way, readonly Pull[]>;

/** What the upstream counted of all that went through the hub, and what was pulled through it. */
export type Upstream = {
  sentBytes: number;
  /** Of configs and layers, each once. */
  pulledBytes: number;
  countedPulls: number;
  /** Different ones. */
  manifests: number;
  /** Of pulls of what was there already, all rounds. */
  warmRequests: number;
};

export type Figures = {
  coldRatio: number;
  coldFirstByteToOneChunk: number;
  warmFirstByteRatio: number;
  upstreamCopies: number;
  upstreamCountedPulls: number;
  /** What pulls of images that were there asked of the upstream. */
  warmUpstreamRequests: number;
  medians: Record<Way, Pull>;
};

/** Ratios of the medians over all rounds. */
export function figuresOf(samples: Samples, upstream: Upstream): Figures {
  const medians = {
    straight: medianPull(samples.straight),
    cold: medianPull(samples.cold),
    warm: medianPull(samples.warm),
  };
  const { straight, cold, warm } = medians;
  return {
    coldRatio: cold.totalMs / straight.totalMs,
    coldFirstByteToOneChunk: cold.firstByteMs / straight.firstChunkMs,
    warmFirstByteRatio: warm.firstByteMs / straight.firstByteMs,
    upstreamCopies: upstream.sentBytes / upstream.pulledBytes,
    upstreamCountedPulls: upstream.countedPulls / upstream.manifests,
    warmUpstreamRequests: upstream.warmRequests,
    medians,
  };
}

function medianPull(pulls: readonly Pull[]): Pull {
  return {
    totalMs: median(pulls.map(({ totalMs }) => totalMs)),
    firstByteMs: median(pulls.map(({ firstByteMs }) => firstByteMs)),
    firstChunkMs: median(pulls.map(({ firstChunkMs }) => firstChunkMs)),
  };
}

function row(name: string, pull: Pull): string {
  const cells = [pull.totalMs, pull.firstByteMs, pull.firstChunkMs];
  return `${name.padEnd(9)}${cells.map((ms) => ms.toFixed(1).padStart(12)).join('')}`;
}

function ratio(value: number, text: string): string {
  return `${value.toFixed(3).padStart(8)}  ${text}`;
}

/** The figures for people. */
export function renderFigures(figures: Figures): string {
  const { straight, cold, warm } = figures.medians;
  return [
    'median ms       whole  first byte   first MiB',
    row('straight', straight),
    row('cold', cold),
    row('warm', warm),
    '',
    ratio(figures.coldRatio, 'time of a cold pull, to straight'),
    ratio(figures.coldFirstByteToOneChunk, 'first byte of a cold layer, to its first MiB straight'),
    ratio(figures.warmFirstByteRatio, 'first byte of a layer that is there, to straight'),
    ratio(figures.upstreamCopies, 'copies that the upstream sent'),
    ratio(figures.upstreamCountedPulls, 'pulls that it counted, for each different manifest'),
    `${String(figures.warmUpstreamRequests).padStart(8)}  requests to it for what was there`,
  ].join('\n');
}
