import { median } from '../rig/cpu.ts';

/** Operations whose rate is measured, per second. */
export const RATES = [
  'manifestGet',
  'manifestHead',
  'blobGet',
  'push10MB',
  'smallPushesSpread',
  'smallPushesOneRepo',
  'tagList',
] as const;
export const CPU = 'push1GiBCpuPerGB';

export type Operation = (typeof RATES)[number] | typeof CPU;
/** What one registry did of each operation, one value a round. */
export type Samples = Partial<Record<Operation, number[]>>;
/** Highest resident bytes of the hub until it was ready, while it was prepared and of each work. */
export type HubRss = Partial<Record<'start' | 'preparing' | Operation, number>>;

/** The other's CPU for a push that the hub's may have, beside one SHA-256 of the data. */
const CPU_TARGET_RATIO = 1.15;

/** Ratios are hub to other; absent is what could not be measured of one of them. */
export type Figures = Partial<Record<Operation, number>> & {
  /** Highest resident bytes of the hub, at any time. */
  hubRssBytes: number;
  hubRssBytesBy: HubRss;
  /** CPU seconds. */
  sha256CpuPerGB: number;
  /** The hub's CPU of a push to 1.15 times the other's plus one SHA-256 of the data. */
  push1GiBCpuToTarget?: number;
  /** The hub's own rates: small pushes into one repository to those spread over many. */
  oneRepoToSpread?: number;
  /** Rates per second, and CPU seconds per GB. */
  us: Partial<Record<Operation, number>>;
  other: Partial<Record<Operation, number>>;
};

/** Medians of all rounds and what follows from them. */
export function figuresOf(
  samples: { us: Samples; other: Samples },
  beside: { hubRssBytesBy: HubRss; sha256CpuPerGB: readonly number[] },
): Figures {
  const us = mediansOf(samples.us);
  const other = mediansOf(samples.other);
  const sha256CpuPerGB = median(beside.sha256CpuPerGB);
  const { hubRssBytesBy } = beside;
  const hubRssBytes = Math.max(...Object.values(hubRssBytesBy));
  const figures: Figures = { hubRssBytes, hubRssBytesBy, sha256CpuPerGB, us, other };
  for (const operation of [...RATES, CPU] as const) {
    const [ours, theirs] = [us[operation], other[operation]];
    if (ours !== undefined && theirs !== undefined) figures[operation] = ours / theirs;
  }
  const [ours, theirs] = [us[CPU], other[CPU]];
  if (ours !== undefined && theirs !== undefined) {
    figures.push1GiBCpuToTarget = ours / (CPU_TARGET_RATIO * theirs + sha256CpuPerGB);
  }
  const { smallPushesOneRepo: one, smallPushesSpread: spread } = us;
  if (one !== undefined && spread !== undefined) figures.oneRepoToSpread = one / spread;
  return figures;
}

function mediansOf(samples: Samples): Partial<Record<Operation, number>> {
  const medians: Partial<Record<Operation, number>> = {};
  for (const operation of [...RATES, CPU] as const) {
    const values = samples[operation] ?? [];
    if (values.length > 0) medians[operation] = median(values);
  }
  return medians;
}

const MIB = 1024 ** 2;
const TEXTS: Record<Operation, string> = {
  manifestGet: 'GET of a manifest by tag, per second',
  manifestHead: 'HEAD of a manifest by tag, per second',
  blobGet: 'GET of a 64 KiB blob, per second',
  push10MB: 'pushes of a 10 MB blob, per second',
  smallPushesSpread: 'small images pushed, spread over repositories, per second',
  smallPushesOneRepo: 'small images pushed into one repository, per second',
  tagList: 'pages of 100 tags, per second',
  push1GiBCpuPerGB: 'CPU seconds per GB pushed',
};

/** The figures for people. */
export function renderFigures(figures: Figures): string {
  const lines = ['     hub    other  hub/other  MiB'];
  for (const operation of [...RATES, CPU] as const) {
    const cells = [figures.us[operation], figures.other[operation], figures[operation]];
    const [ours, theirs, ratio] = cells.map((value) => value?.toFixed(2) ?? '-');
    const memory = mebibytes(figures.hubRssBytesBy[operation]).padStart(3);
    lines.push(
      `${ours?.padStart(8)} ${theirs?.padStart(8)}  ${ratio?.padStart(9)}  ${memory}  ` +
        TEXTS[operation],
    );
  }
  const target = figures.push1GiBCpuToTarget?.toFixed(2) ?? '-';
  const sha256 = figures.sha256CpuPerGB.toFixed(2);
  const bound = `${CPU_TARGET_RATIO} of the other's and one SHA-256 (${sha256} s/GB)`;
  const oneRepo = figures.oneRepoToSpread?.toFixed(2) ?? '-';
  lines.push(
    `CPU of a push, times ${bound}: ${target}`,
    `small pushes into one repository, times the rate spread: ${oneRepo}`,
    `highest resident memory of the hub: ${mebibytes(figures.hubRssBytes)} MiB; ` +
      `until it was ready ${mebibytes(figures.hubRssBytesBy.start)}, ` +
      `while it was prepared ${mebibytes(figures.hubRssBytesBy.preparing)}, else see above`,
  );
  return lines.join('\n');
}

function mebibytes(bytes: number | undefined): string {
  return bytes === undefined ? '-' : (bytes / MIB).toFixed(0);
}
