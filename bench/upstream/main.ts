// A hub and an agent in front of an upstream beside the upstream itself, in turns, as ratios.
import { writeFile } from 'node:fs/promises';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { describeMachine, settle } from '../rig/machine.ts';
import { checkNetworks } from '../rig/networks.ts';
import { Steps } from '../rig/steps.ts';
import { figuresOf, renderFigures, type Figures, type Pull, type Way } from './figures.ts';
import { parseUpstreamBenchOptions, UPSTREAM_HELP } from './options.ts';
import type { UpstreamBenchOptions } from './options.ts';
import { Setting } from './setting.ts';

const SETTLE_MS = 10_000;
/** Compilers do their work in it. */
const UNCOUNTED_ROUNDS = 1;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function measure(setting: Setting, options: UpstreamBenchOptions): Promise<Figures> {
  const samples: Record<Way, Pull[]> = { straight: [], cold: [], warm: [] };
  const rounds = options.rounds + UNCOUNTED_ROUNDS;
  const steps = new Steps(rounds * Object.keys(samples).length + 1);
  for (let round = 1; round <= rounds; round += 1) {
    // Who begins takes turns; what is warm has been cold before.
    const ways: readonly Way[] =
      round % 2 === 1 ? ['straight', 'cold', 'warm'] : ['cold', 'warm', 'straight'];
    const image = await setting.offer(`round-${round}`, options.sizeBytes);
    for (const way of ways) {
      steps.begin(`round ${round} of ${rounds}: ${way}`);
      await settle(SETTLE_MS);
      const pull = await setting.pull(image, way);
      if (round > UNCOUNTED_ROUNDS) samples[way].push(pull);
    }
  }
  steps.begin(`${options.agents} agents at the same time`);
  await setting.pullEverywhere(await setting.offer('everywhere', options.sizeBytes));
  steps.end();
  return figuresOf(samples, setting.upstream);
}

async function run(options: UpstreamBenchOptions): Promise<void> {
  checkNetworks('openssl');
  const machine = describeMachine();
  const { mbit, sizeBytes, agents } = options;
  say(`${machine}\nlayers of ${formatByteSize(sizeBytes)}, upstream at ${mbit} Mbit/s`);
  say(`Starting an upstream, a hub and ${agents} agents, each with its own network ...`);
  await using setting = await Setting.start(options);
  const figures = await measure(setting, options);
  say(`\nEvery blob has the right SHA-256.\n\n${renderFigures(figures)}`);
  if (options.json === undefined) return;
  const written = { ...figures, machine, sizeBytes, agents, mbit, rounds: options.rounds };
  await writeFile(options.json, `${JSON.stringify(written, undefined, 2)}\n`);
}

// So that what this process leaves on the machine is removed, which happens when it exits.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  const options = parseUpstreamBenchOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(UPSTREAM_HELP);
  else await run(options);
} catch (err) {
  process.stderr.write(`bench:upstream: ${messageOf(err)}\n`);
  process.exitCode = 1;
}
