import { boundSeconds } from './bound.ts';
import { escape, renderChart } from './chart.ts';
import type { Line } from './chart.ts';
import type { Figures, Measured } from './figures.ts';
import type { PeakOptions } from './options.ts';
import { payloadReceived, payloadSent } from './sampler.ts';
import type { Sample } from './sampler.ts';

const MB = 1e6;
const FROM_HUB = '#d9822b';
const FROM_PEERS = '#3b7dd8';
const BOUND = '#7a7a7a';
const LAST = '#c0392b';
const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin: 0 }
figure { margin: 2rem 0 } svg { width: 100%; height: auto } svg text { font-size: 12px;
fill: currentColor } .grid { stroke: #8884; stroke-width: 1 } .mark { stroke: #7a7a7a;
stroke-dasharray: 2 3 } ul { list-style: none; padding: 0; margin: 0; display: flex;
flex-wrap: wrap; gap: 0 1.2rem; font-size: 13px } li i { display: inline-block; width: 12px;
height: 12px; margin-right: 5px; vertical-align: -1px } pre { overflow: auto }
@media (prefers-color-scheme: dark) { body { background: #15181c; color: #e4e6e8 } }`;

/** A page of its own with the curves of a run; `texts` are printed above them as they are. */
export function renderPage(
  options: PeakOptions,
  measured: Measured,
  figures: Figures,
  texts: readonly string[],
): string {
  const charts = [
    sources(options, measured),
    finishTimes(figures, measured),
    nodesOverTime(measured),
    uploads(measured),
    idle(measured.samples),
  ];
  const part = (figures.efficiency * 100).toFixed(1);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Load peak, ${figures.agents} agents</title>
<meta name="viewport" content="width=device-width"><style>${STYLE}</style></head><body>
<h1>Load peak: ${figures.agents} agents, ${part} % of the bound</h1>
${texts.map((each) => `<pre>${escape(each)}</pre>`).join('\n')}
${charts.join('\n')}
</body></html>
`;
}

/** Names of the clients, those that finished first in front. */
function byFinish({ outcomes }: Measured): string[] {
  return outcomes.toSorted((a, b) => a.endSeconds - b.endSeconds).map(({ name }) => name);
}

/** A line of something counted since the first sample, over seconds. */
function sinceStart(
  samples: readonly Sample[],
  count: (sample: Sample) => number,
): [number, number][] {
  const first = samples[0];
  if (!first) return [];
  const zero = count(first);
  return samples
    .filter(({ atMs }) => atMs >= 0)
    .map((sample) => [sample.atMs / 1000, count(sample) - zero]);
}

function sources(options: PeakOptions, measured: Measured): string {
  const { samples, outcomes, imageBytes } = measured;
  const names = outcomes.map(({ name }) => name);
  const received = sinceStart(
    samples,
    ({ traffic }) => names.reduce((sum, name) => sum + payloadReceived(traffic.get(name)), 0) / MB,
  );
  const hub = sinceStart(samples, ({ traffic }) => payloadSent(traffic.get('hub')) / MB);
  const needed = (names.length * imageBytes) / MB;
  const bound: Line = {
    name: `the bound: ${needed.toFixed(0)} MB at the time the links allow`,
    points: [
      [0, 0],
      [boundSeconds(options, imageBytes), needed],
    ],
    color: BOUND,
    style: 'dashed',
  };
  return renderChart({
    title: 'Bytes by source, all nodes together',
    xLabel: 'seconds since the barrier',
    yLabel: 'MB received',
    lines: [
      { name: 'from peers', points: received, color: FROM_PEERS, style: 'area' },
      { name: 'from the hub', points: hub, color: FROM_HUB, style: 'area' },
      bound,
    ],
  });
}

function finishTimes(figures: Figures, { outcomes }: Measured): string {
  const ends = outcomes.map(({ endSeconds }) => endSeconds).sort((a, b) => a - b);
  const points: [number, number][] = [
    [0, 0],
    ...ends.map((end, index): [number, number] => [end, ((index + 1) / ends.length) * 100]),
  ];
  const atGoodput = figures.boundSeconds / figures.goodputRatio;
  return renderChart({
    title: 'Clients that have the image, every byte checked',
    xLabel: 'seconds since the barrier',
    yLabel: '% of the clients',
    lines: [{ name: 'clients', points, color: FROM_PEERS, style: 'steps' }],
    marks: [
      { name: `bound ${figures.boundSeconds.toFixed(1)} s`, x: figures.boundSeconds },
      { name: `at the rate of plain TCP ${atGoodput.toFixed(1)} s`, x: atGoodput },
    ],
    yMax: 100,
  });
}

function nodesOverTime(measured: Measured): string {
  const { samples, imageBytes } = measured;
  const names = byFinish(measured);
  const last = names.at(-1);
  const lines = names.map((name): Line => {
    const points = sinceStart(
      samples,
      ({ traffic }) => (payloadReceived(traffic.get(name)) / imageBytes) * 100,
    );
    if (name !== last) return { name, points, color: FROM_PEERS, style: 'thin' };
    return { name: `${name}, the last to finish`, points, color: LAST };
  });
  return renderChart({
    title: 'What each node has received',
    xLabel: 'seconds since the barrier',
    yLabel: '% of the image',
    lines,
  });
}

function uploads(measured: Measured): string {
  const { samples, imageBytes } = measured;
  const names = byFinish(measured);
  const lines = [...names, 'hub'].map((name): Line => {
    const points = sinceStart(
      samples,
      ({ traffic }) => payloadSent(traffic.get(name)) / imageBytes,
    );
    if (name !== 'hub') return { name, points, color: FROM_PEERS, style: 'thin' };
    return { name: 'the hub', points, color: FROM_HUB };
  });
  return renderChart({
    title: 'What each node has sent',
    xLabel: 'seconds since the barrier',
    yLabel: 'copies of the image',
    lines,
  });
}

function idle(samples: readonly Sample[]): string {
  const points = samples
    .filter(({ atMs }) => atMs >= 0)
    .map((sample): [number, number] => [sample.atMs / 1000, sample.idle * 100]);
  return renderChart({
    title: 'Idle part of this machine (near 0: the machine was the limit, not the links)',
    xLabel: 'seconds since the barrier',
    yLabel: '% idle',
    lines: [{ name: 'idle', points, color: BOUND }],
    yMax: 100,
  });
}
