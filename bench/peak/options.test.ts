import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePeakOptions } from './options.ts';

test('the defaults are a peak of equal links that two processors can carry', () => {
  const options = parsePeakOptions([]);
  assert.ok(options !== 'help');
  assert.equal(options.arrivals, 'all');
  assert.equal(options.hubRateMbit, options.rateMbit);
  assert.ok(options.agents * options.rateMbit <= 400);
});

test('the hub has the link of an agent unless another is given', () => {
  const same = parsePeakOptions(['--rate', '1Gbit']);
  assert.ok(same !== 'help');
  assert.equal(same.hubRateMbit, 1000);
  const other = parsePeakOptions(['--rate', '1Gbit', '--hub-rate', '500Mbit']);
  assert.ok(other !== 'help');
  assert.deepEqual([other.rateMbit, other.hubRateMbit], [1000, 500]);
});

for (const args of [
  ['--agents', '0'],
  ['--agents', '2.5'],
  ['--rate', '100'],
  ['--rate', '0Mbit'],
  ['--arrivals', 'never'],
  ['--fail', 'everything'],
  ['--seed', ''],
  ['--size', 'large'],
  ['--json', '/no/such/folder/figures.json'],
  ['--warm-up', '2TiB'],
  ['--arrivals', 'second-image', '--layers', '1'],
  ['--size', '3', '--layers', '4'],
  ['--fail', 'busiest', '--agents', '1'],
]) {
  test(`${args.join(' ')} is refused with a sentence that names the option`, () => {
    assert.throws(() => parsePeakOptions(args), new RegExp(args.at(0) ?? ''));
  });
}
