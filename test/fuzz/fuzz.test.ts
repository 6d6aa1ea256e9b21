import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runFuzzer, type Fuzzer } from './campaign.ts';
import { FUZZERS } from './fuzzers.ts';

const SEED = 20_260_101;
const ROUNDS = 400;

for (const fuzzer of FUZZERS) {
  test(`${fuzzer.name}: hostile input is refused in the decoder's own words`, () => {
    const { tally, finding } = runFuzzer(fuzzer, { seed: SEED, rounds: ROUNDS });
    const input = finding?.input.toString('hex');
    assert.equal(finding, undefined, `${finding?.problem}; input ${input}`);
    assert.equal(tally.rounds, ROUNDS);
    assert.ok(tally.refused > 0, 'nothing was refused: the inputs are not hostile');
  });
}

// Reads a length and believes it: what every decoder here must not do.
const CANARY: Fuzzer = {
  name: 'canary',
  corpus: [Buffer.from([3, 1, 2, 3])],
  refusals: ['SwarmError'],
  run: (input) => {
    const length = input[0] ?? 0;
    for (let i = 1; i <= length; i++) if (input[i] === undefined) throw new RangeError('past end');
  },
};

test('the canary, a decoder with a mistake in it, is found', () => {
  const { finding } = runFuzzer(CANARY, { seed: SEED, rounds: ROUNDS });
  assert.match(finding?.problem ?? '', /past end/);
});

test('a decoder that believes a forged object is found', () => {
  const genuine = Buffer.from('signed by the hub');
  const gullible: Fuzzer = {
    name: 'gullible',
    corpus: [genuine],
    refusals: ['TrustError'],
    run: (input) => {
      if (input.length > 0 && !input.equals(genuine)) throw new Error('forged');
    },
  };
  assert.match(
    runFuzzer(gullible, { seed: SEED, rounds: ROUNDS }).finding?.problem ?? '',
    /forged/,
  );
});

function inputsOf(seed: number): string[] {
  const inputs: string[] = [];
  const run = (input: Buffer): void => void inputs.push(input.toString('hex'));
  runFuzzer({ ...CANARY, run }, { seed, rounds: 50 });
  return inputs;
}

test('the same seed gives the same inputs, another one others', () => {
  assert.deepEqual(inputsOf(1), inputsOf(1));
  assert.notDeepEqual(inputsOf(1), inputsOf(2));
});
