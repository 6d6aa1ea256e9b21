import { parseArgs } from 'node:util';
import { runFuzzer } from './campaign.ts';
import { FUZZERS } from './fuzzers.ts';

const USAGE = 'usage: node test/fuzz/fuzz.ts [--seed N] [--rounds N] [--only NAME]';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    rounds: { type: 'string', default: '20000' },
    only: { type: 'string' },
  },
});
const seed = Number(values.seed);
const rounds = Number(values.rounds);
const chosen = FUZZERS.filter(({ name }) => values.only === undefined || name === values.only);
if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(rounds) || chosen.length === 0) {
  console.error(`${USAGE}\nnames: ${FUZZERS.map(({ name }) => name).join(', ')}`);
  process.exit(64);
}
console.log(`seed ${seed}, ${rounds} rounds each`);
for (const fuzzer of chosen) {
  const { tally, finding } = runFuzzer(fuzzer, { seed, rounds });
  if (finding === undefined) {
    console.log(`ok    ${fuzzer.name}: ${tally.accepted} accepted, ${tally.refused} refused`);
    continue;
  }
  process.exitCode = 1;
  console.log(`FOUND ${fuzzer.name}, round ${finding.round}: ${finding.problem}`);
  console.log(`      input ${finding.input.toString('hex')}`);
  console.log(`      again: --seed ${seed} --rounds ${rounds} --only '${fuzzer.name}'`);
}
