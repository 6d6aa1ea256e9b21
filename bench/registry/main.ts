// A hub beside another registry: the same operations in turns, as ratios.
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { messageOf } from '../../proto/std/errors.ts';
import { describeMachine } from '../rig/machine.ts';
import { Steps } from '../rig/steps.ts';
import { figuresOf, renderFigures } from './figures.ts';
import { Load } from './load.ts';
import { parseRegistryBenchOptions, REGISTRY_HELP, type RegistryBenchOptions } from './options.ts';
import { Rounds } from './rounds.ts';
import { startHub, startOther, type Side } from './sides.ts';

const SIDES = 2;

/** A folder that is removed when this process ends, in whatever way it can notice. */
async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-registry-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/** One round: each operation on both, and who begins takes turns too. */
async function runRound(
  rounds: Rounds,
  sides: readonly Side[],
  round: number,
  begin: (text: string) => void,
): Promise<void> {
  const ordered = round % 2 === 1 ? sides : sides.toReversed();
  for (const step of rounds.steps(round)) {
    begin(step.text);
    // oxlint-disable-next-line no-await-in-loop -- they do not share the machine
    for (const side of ordered) await rounds.measure(step, side, round);
  }
  await rounds.measureSha256();
}

async function run(options: RegistryBenchOptions): Promise<void> {
  if (process.platform !== 'linux') throw new Error('needs Linux, for its /proc');
  const folder = await makeFolder();
  const machine = describeMachine();
  process.stdout.write(`${machine}\ndata in ${folder}\n`);
  await using stack = new AsyncDisposableStack();
  const other = await startOther(options, folder, stack);
  const us = await startHub(folder, stack);
  const load = stack.use(new Load());
  const sides = [us, other];
  const rounds = new Rounds(options, { load, folder });
  const numbers = Array.from({ length: options.rounds }, (_, at) => at + 1);
  const count = numbers.reduce((sum, round) => sum + rounds.steps(round).length, SIDES);
  const steps = new Steps(count);
  for (const side of sides) {
    steps.begin(`preparing ${side.name === 'us' ? 'the hub' : 'the other'}`);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await rounds.prepare(side);
  }
  for (const round of numbers) {
    const begin = (text: string): void =>
      steps.begin(`round ${round} of ${options.rounds}: ${text}`);
    // oxlint-disable-next-line no-await-in-loop -- rounds do not share the machine
    await runRound(rounds, sides, round, begin);
  }
  steps.end();
  const figures = figuresOf(rounds.samples, rounds);
  process.stdout.write(`\n${renderFigures(figures)}\n`);
  if (options.json !== undefined) {
    const written = { ...figures, machine, against: options.against?.url ?? 'docker-registry' };
    await writeFile(options.json, `${JSON.stringify(written, undefined, 2)}\n`);
  }
}

// So that what this process leaves on the machine is removed, which happens when it exits.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  const options = parseRegistryBenchOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(REGISTRY_HELP);
  else await run(options);
} catch (err) {
  process.stderr.write(`bench:registry: ${messageOf(err)}\n`);
  process.exitCode = 1;
}
