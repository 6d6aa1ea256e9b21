import { writeFile } from 'node:fs/promises';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { describeMachine } from '../rig/machine.ts';
import { checkNetworks } from '../rig/networks.ts';
import { figuresOf, renderFigures } from './figures.ts';
import { parsePeakOptions, PEAK_HELP } from './options.ts';
import type { PeakOptions } from './options.ts';
import { renderPage } from './page.ts';
import { runPeak } from './run.ts';
import type { PeakResult } from './run.ts';
import { compare, IDLE_PART_MIN, renderComparison, scenarioOf } from './simulated.ts';

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function describeRun(options: PeakOptions): string {
  const { agents, rateMbit, hubRateMbit, arrivals, layers, seed, failure } = options;
  const size = formatByteSize(options.sizeBytes);
  const links = `${agents} agents at ${rateMbit} Mbit/s, hub at ${hubRateMbit} Mbit/s, both ways`;
  const trouble = failure === undefined ? '' : `, fails: ${failure}`;
  const before = options.warmUpBytes > 0 ? formatByteSize(options.warmUpBytes) : 'nothing';
  const count = layers === 1 ? 'one layer' : `${layers} layers`;
  const what = `${size} in ${count}, ${before} pulled before; arrivals: ${arrivals}`;
  return `${links}; ${what}${trouble}; seed ${seed}`;
}

function describeCpu({ cpu, events }: PeakResult): string {
  const used = `CPU seconds: hub ${cpu.hub.toFixed(1)}, agents ${cpu.agents.toFixed(1)}`;
  const rest = `measuring clients ${cpu.clients.toFixed(1)}, all else ${cpu.others.toFixed(1)}`;
  const share = Math.round(cpu.ownPart * 100);
  const idle = Math.round(cpu.idlePart * 100);
  const shares = `These used ${share} % of the machine, ${idle} % of it was idle`;
  const lines = [...events, `${used}, ${rest}.`, `${shares}.`];
  if (cpu.idlePart < IDLE_PART_MIN) {
    lines.push('That is little: the machine, not the links, may be what held the nodes up.');
  }
  return lines.join('\n');
}

async function run(options: PeakOptions): Promise<void> {
  checkNetworks();
  say(`${describeMachine()}\n${describeRun(options)}`);
  const result = await runPeak(options);
  say(`\n${describeCpu(result)}\n`);
  const figures = figuresOf(options, result);
  say(`Every byte on every node has the right SHA-256.\n\n${renderFigures(figures)}`);
  const { imageBytes, cpu } = result;
  const scenario = scenarioOf(options, { imageBytes, goodputRatio: figures.goodputRatio });
  const comparison = scenario && compare(scenario, figures.secondsToLast, options.seed);
  const beside = renderComparison(comparison, cpu.idlePart).join('\n');
  say(`\n${beside}`);
  if (options.html !== undefined) {
    const texts = [describeMachine(), describeRun(options), renderFigures(figures), beside];
    const page = renderPage(options, result, figures, [...texts, describeCpu(result)]);
    await writeFile(options.html, page);
  }
  if (options.json !== undefined) {
    const written = { ...figures, idlePart: cpu.idlePart, ...comparison };
    await writeFile(options.json, `${JSON.stringify(written, undefined, 2)}\n`);
  }
}

// So that what this process leaves on the machine is removed, which happens when it exits.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  const options = parsePeakOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(PEAK_HELP);
  else await run(options);
} catch (err) {
  process.stderr.write(`bench:peak: ${messageOf(err)}\n`);
  process.exitCode = 1;
}
