import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { createUplinkMetrics } from './metrics.ts';
import { Uplink, type UplinkBody } from './uplink.ts';

const MIB = 1024 * 1024;
const NEVER = new AbortController().signal;

function uplinkOf(options: { bytesPerSecond?: number; waitMaxMs?: number } = {}) {
  const metrics = new MetricsRegistry({ prefix: 'flotilla_hub_' });
  const { bytesPerSecond, ...rest } = options;
  const uplink = new Uplink({ bytesPerSecond, ...rest }, { metrics: createUplinkMetrics(metrics) });
  const body = (repository: string, caller: string): UplinkBody =>
    uplink.enter({ repository, digest: 'sha256:00', caller });
  return { body, metrics };
}

function timers(): number {
  return process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
}

test('nothing waits where the rate is not known, nor on a link that is not full', async () => {
  const unknown = uplinkOf();
  const wide = uplinkOf({ bytesPerSecond: 10_000 * MIB });
  for (let n = 0; n < 100; n += 1) {
    assert.equal(unknown.body('model', `node${n}`).turn(MIB, NEVER), undefined);
    assert.equal(wide.body('model', `node${n}`).turn(MIB, NEVER), undefined);
  }
  assert.match(await wide.metrics.text(), /uplink_bytes_total\{way="free"\} 104857600/);
});

test('on a full link a small image is next, however many wait for a model', async () => {
  const { body } = uplinkOf({ bytesPerSecond: 200 * MIB });
  const order: string[] = [];
  const waits: Promise<unknown>[] = [];
  const ask = (repository: string, caller: string): void => {
    const turn = body(repository, caller).turn(MIB, NEVER);
    waits.push(Promise.resolve(turn).then(() => order.push(repository)));
  };
  for (let n = 0; n < 60; n += 1) ask('model', `node${n}`);
  const sent = order.length;
  ask('small', 'other');
  await Promise.all(waits);
  // Some of the model had left before the link was full.
  assert.ok(order.indexOf('small') - sent < 20, `came ${order.indexOf('small')}th`);
});

test('no slice waits longer than the bound, whatever the rate', async () => {
  const { body, metrics } = uplinkOf({ bytesPerSecond: 1000, waitMaxMs: 20 });
  assert.equal(body('model', 'node').turn(MIB, NEVER), undefined);
  await body('small', 'other').turn(MIB, NEVER);
  assert.match(await metrics.text(), /uplink_bytes_total\{way="queued"\} 1048576/);
});

test('who gives up waiting keeps no place, and others are not disturbed', async () => {
  const { body, metrics } = uplinkOf({ bytesPerSecond: 100 * MIB });
  const model = body('model', 'node');
  const gone = new AbortController();
  const small = body('small', 'other');
  const sent = Array.from({ length: 12 }, () => model.turn(MIB, NEVER));
  const waiting = small.turn(MIB, gone.signal);
  assert.ok(waiting);
  gone.abort(new Error('client went away'));
  await assert.rejects(waiting, /client went away/);
  await assert.rejects(async () => small.turn(MIB, gone.signal), /client went away/);
  for (const turn of sent) await turn;
  assert.match(await metrics.text(), /uplink_slices_queued 0\n/);
  assert.match(await metrics.text(), /uplink_bytes_total\{way="queued"\}/);
});

test('when nobody waits any more no timer keeps the process alive', async () => {
  const { body } = uplinkOf({ bytesPerSecond: 1000 });
  const before = timers();
  assert.equal(body('model', 'node').turn(MIB, NEVER), undefined);
  const gone = new AbortController();
  const waiting = body('small', 'other').turn(MIB, gone.signal);
  assert.equal(timers(), before + 1);
  gone.abort(new Error('client went away'));
  await assert.rejects(async () => waiting, /client went away/);
  assert.equal(timers(), before);
});
