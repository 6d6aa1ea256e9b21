import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestAccess, basic } from './access-fixture.ts';
import { ACCOUNT_FAILURE_MS, ACCOUNT_FAILURES_BURST, ADDRESS_FAILURES_BURST } from './constants.ts';
import { LoginThrottle } from './throttle.ts';

const wrong = async (): Promise<boolean> => false;
const right = async (): Promise<boolean> => true;

const broken = async (): Promise<boolean> => {
  throw new Error('no database');
};

function throttleAt(clock: { nowMs: number }): LoginThrottle {
  return new LoginThrottle({ now: () => clock.nowMs });
}

test('so many wrong passwords for an account, from wherever, and then it is slow', async () => {
  const clock = { nowMs: 0 };
  const throttle = throttleAt(clock);
  for (let i = 0; i < ACCOUNT_FAILURES_BURST; i++) {
    assert.equal(await throttle.run({ user: 'ada', address: `10.0.0.${i}` }, wrong), false);
  }
  const next = () => throttle.run({ user: 'ada', address: '10.0.1.1' }, right);
  await assert.rejects(next(), { code: 'THROTTLED' });
  assert.equal(await throttle.run({ user: 'bob', address: '10.0.1.1' }, right), true);
  clock.nowMs += ACCOUNT_FAILURE_MS;
  assert.equal(await next(), true, 'room comes back with time');
});

test('many at once gain nothing', async () => {
  const throttle = throttleAt({ nowMs: 0 });
  let tried = 0;
  const attempt = async (): Promise<boolean> => {
    tried++;
    await new Promise(setImmediate);
    return false;
  };
  const all = Array.from({ length: 100 }, () =>
    throttle.run({ user: 'ada', address: '10.0.0.1' }, attempt),
  );
  await Promise.allSettled(all);
  assert.equal(tried, ACCOUNT_FAILURES_BURST);
});

test('one address cannot go through all accounts, nor one network of IPv6', async () => {
  for (const addressOf of [() => '10.0.0.1', (i: number) => `2001:db8::${i.toString(16)}`]) {
    const throttle = throttleAt({ nowMs: 0 });
    for (let i = 0; i < ADDRESS_FAILURES_BURST; i++) {
      await throttle.run({ user: `user${i}`, address: addressOf(i) }, wrong);
    }
    const next = throttle.run({ user: 'other', address: addressOf(70) }, wrong);
    await assert.rejects(next, { code: 'THROTTLED' });
    await throttle.run({ user: 'other', address: '2001:db9::1' }, wrong);
  }
});

test('whoever logged in from an address is not locked out by others', async () => {
  const throttle = throttleAt({ nowMs: 0 });
  const home = { user: 'admin', address: '10.0.0.1' };
  await throttle.run(home, right);
  for (let i = 0; i < ACCOUNT_FAILURES_BURST; i++) {
    await throttle.run({ user: 'admin', address: `10.0.2.${i}` }, wrong);
  }
  const stranger = throttle.run({ user: 'admin', address: '10.0.3.1' }, right);
  await assert.rejects(stranger, { code: 'THROTTLED' });
  assert.equal(await throttle.run(home, right), true);
  const own = await throttle.run({ user: 'admin', address: '127.0.0.1' }, right);
  assert.equal(own, true, 'nor is the machine of the hub');
});

test('right passwords are not counted', async () => {
  const throttle = throttleAt({ nowMs: 0 });
  for (let i = 0; i < 200; i++) await throttle.run({ user: 'ci', address: '10.0.0.1' }, right);
});

test('an attempt that could not be made is not counted', async () => {
  const throttle = throttleAt({ nowMs: 0 });
  const who = { user: 'ci', address: '10.0.0.1' };
  for (let i = 0; i < 20; i++) await assert.rejects(throttle.run(who, broken), /no database/);
  assert.equal(await throttle.run(who, right), true);
});

test('who sends his right password with each request is not hindered', async (t) => {
  const hub = await TestAccess.open(t);
  const header = await hub.account('ada');
  await hub.identify(header);
  for (let i = 0; i < ACCOUNT_FAILURES_BURST; i++) {
    const guess = hub.identify(basic('ada', `guess ${i}`), '10.0.9.9');
    await assert.rejects(guess, { code: 'BAD_CREDENTIALS' });
  }
  const more = hub.identify(basic('ada', 'guess'), '10.0.9.9');
  await assert.rejects(more, { code: 'THROTTLED' });
  assert.deepEqual((await hub.identify(header)).subject, { kind: 'account', name: 'ada' });
});
