import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRegistryBenchOptions } from './options.ts';

test('without options Debian’s registry is the other one', () => {
  assert.deepEqual(parseRegistryBenchOptions([]), {
    against: undefined,
    seconds: 2,
    rounds: 5,
    pushes: 1000,
    largeBytes: 1024 ** 3,
    json: undefined,
  });
});

test('the other registry may ask for a login, which is not a part of its address', () => {
  const options = parseRegistryBenchOptions(['--against', 'http://me:p%40ss@127.0.0.1:5000']);
  assert.ok(options !== 'help');
  assert.deepEqual(options.against, { url: 'http://127.0.0.1:5000', credentials: 'me:p@ss' });
});

test('--help is answered before anything else is looked at', () => {
  assert.equal(parseRegistryBenchOptions(['--help', '--seconds', 'many']), 'help');
});

for (const [args, message] of [
  [['--seconds', '0'], '--seconds takes a whole number from 1 to 600, not 0'],
  [['--seconds', '1.5'], '--seconds takes a whole number from 1 to 600, not 1.5'],
  [['--rounds', '-'], '--rounds takes a whole number from 1 to 99, not -'],
  [['--pushes', '3'], '--pushes takes a whole number from 5 to 1000000, not 3'],
  [['--large', '1MiB'], '--large takes a size from 64MiB to 1TiB, not 1MiB'],
  [
    ['--against', '127.0.0.1:5000'],
    '--against takes the URL of a registry without a path, http or https',
  ],
  [
    ['--against', 'http://127.0.0.1:5000/v2/'],
    '--against takes the URL of a registry without a path, http or https',
  ],
  [['--json', '/nowhere/at/all.json'], '--json names a file in a folder that cannot be written to'],
] as const) {
  test(`${args.join(' ')} is refused with a sentence that names the option`, () => {
    assert.throws(() => parseRegistryBenchOptions(args), { message });
  });
}
