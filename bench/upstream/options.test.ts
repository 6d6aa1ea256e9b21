import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseUpstreamBenchOptions } from './options.ts';

test('without options the upstream has 200 Mbit/s', () => {
  assert.deepEqual(parseUpstreamBenchOptions([]), {
    agents: 4,
    sizeBytes: 128 * 1024 ** 2,
    rounds: 5,
    mbit: 200,
    json: undefined,
  });
});

test('--help is answered before anything else is looked at', () => {
  assert.equal(parseUpstreamBenchOptions(['--help', '--rounds', 'many']), 'help');
});

for (const [args, message] of [
  [['--agents', '0'], '--agents takes a whole number from 1 to 40, not 0'],
  [['--rounds', '1.5'], '--rounds takes a whole number from 1 to 99, not 1.5'],
  [['--mbit', '-'], '--mbit takes a whole number from 1 to 100000, not -'],
  [['--size', '1MiB'], '--size takes a size from 8MiB to 1TiB, not 1MiB'],
  [['--json', '/nowhere/at/all.json'], '--json names a file in a folder that cannot be written to'],
] as const) {
  test(`${args.join(' ')} is refused with a sentence that names the option`, () => {
    assert.throws(() => parseUpstreamBenchOptions(args), { message });
  });
}
