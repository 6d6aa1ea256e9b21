import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../rig/random.ts';
import { arrive } from './arrivals.ts';
import { nowMs } from './client.ts';
import { parsePeakOptions } from './options.ts';

const NAMES = Array.from({ length: 10 }, (_, index) => `n${index + 1}`);

async function order(arrivals: string, seed: number) {
  const options = parsePeakOptions(['--agents', '10', '--arrivals', arrivals, '--layers', '2']);
  if (options === 'help') throw new Error('help was asked for');
  const started: string[] = [];
  let running = 0;
  let most = 0;
  const pullers = NAMES.map((name) => ({
    name,
    pull: async () => {
      started.push(name);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (name === 'n3') throw new Error('cut off');
      return { atMs: nowMs() };
    },
  }));
  const { outcomes } = await arrive(pullers, options, {
    imageBytes: 1,
    random: seededRandom(seed),
  });
  return { started, most, outcomes };
}

test('all at once means that nobody waits for another', async () => {
  const { most } = await order('all', 1);
  assert.equal(most, NAMES.length);
});

test('a rolling update has a fifth of the nodes under way, and each has its turn', async () => {
  const { most, started } = await order('rolling', 1);
  assert.equal(most, 2);
  assert.deepEqual(started.toSorted(), NAMES.toSorted());
});

test('the order follows from the seed', async () => {
  const [one, again, other] = [
    await order('ramp', 1),
    await order('ramp', 1),
    await order('ramp', 2),
  ];
  assert.deepEqual(one.started, again.started);
  assert.notDeepEqual(one.started, other.started);
});

test('one client that fails is told, and the others go on', async () => {
  const { outcomes } = await order('rolling', 1);
  const failed = outcomes.filter(({ failure }) => failure !== undefined);
  assert.deepEqual(
    failed.map(({ name, failure }) => [name, failure]),
    [['n3', 'cut off']],
  );
});
