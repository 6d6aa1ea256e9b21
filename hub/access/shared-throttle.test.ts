// Hubs that share a catalog count wrong passwords together.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { KyselyLoginStore, type LoginTables } from '../catalog/login-store.ts';
import { openSqliteCatalog } from '../catalog/sqlite-catalog.ts';
import {
  ACCOUNT_FAILURES_BURST,
  ADDRESS_FAILURES_BURST,
  LOGIN_STORE_CALLS_MAX,
  LOGIN_STORE_TIMEOUT_MS,
} from './constants.ts';
import type { LoginStore } from './login-store.ts';
import { LoginThrottle } from './throttle.ts';

const THROTTLED = { code: 'THROTTLED' };
const wrong = async (): Promise<boolean> => false;
const silent = (): Promise<never> => new Promise(() => {});
const away = async (): Promise<never> => {
  throw new Error('no database');
};
const right = async (): Promise<boolean> => true;

async function storeOf(t: TestContext): Promise<LoginStore> {
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  t.after(() => catalog.close());
  return new KyselyLoginStore({ db: catalog.db.withTables<LoginTables>() });
}

function hubs(store: LoginStore, count = 2): LoginThrottle[] {
  return Array.from({ length: count }, () => new LoginThrottle({ now: Date.now }, { store }));
}

/** How many of these logins were tried, on all hubs in turn. */
async function tried(
  all: readonly LoginThrottle[],
  times: number,
  addressOf: (i: number) => string,
  user = 'ada',
): Promise<number> {
  let attempts = 0;
  const attempt = async (): Promise<boolean> => {
    attempts++;
    return false;
  };
  const login = async (i: number): Promise<void> => {
    await all[i % all.length]?.run({ user, address: addressOf(i) }, attempt);
  };
  await Promise.allSettled(Array.from({ length: times }, (_, i) => login(i)));
  return attempts;
}

test('guesses spread over two hubs are as many as at one, in turn or at once', async (t) => {
  const all = hubs(await storeOf(t));
  assert.equal(await tried(all, 40, (i) => `10.0.0.${i}`), ACCOUNT_FAILURES_BURST);
  for (const hub of all) {
    await assert.rejects(hub.run({ user: 'ada', address: '10.0.1.1' }, right), THROTTLED);
    assert.equal(await hub.run({ user: 'bob', address: '10.0.1.1' }, right), true);
  }
});

test('nor may one address go through all accounts by asking two hubs', async (t) => {
  const all = hubs(await storeOf(t));
  let attempts = 0;
  for (let i = 0; i < 2 * ADDRESS_FAILURES_BURST; i++) {
    const attempt = async (): Promise<boolean> => {
      attempts++;
      return false;
    };
    const login = all[i % 2]?.run({ user: `user ${i}`, address: '10.0.0.1' }, attempt);
    await login?.catch(() => undefined);
  }
  // One more may come in while these are tried.
  assert.ok(attempts >= ADDRESS_FAILURES_BURST && attempts <= ADDRESS_FAILURES_BURST + 5);
});

test('whoever logged in at one hub is not locked out at the other by guesses', async (t) => {
  const [a, b] = hubs(await storeOf(t));
  assert.ok(a && b);
  const home = { user: 'admin', address: '10.0.0.1' };
  await a.run(home, right);
  await tried([a, b], 40, (i) => `10.0.2.${i}`, 'admin');
  await assert.rejects(b.run({ user: 'admin', address: '10.0.4.1' }, right), THROTTLED);
  assert.equal(await b.run(home, right), true);
  assert.equal(await b.run({ user: 'admin', address: '127.0.0.1' }, right), true);
});

test('right passwords are not counted, at whichever hub', async (t) => {
  const all = hubs(await storeOf(t), 3);
  for (let i = 0; i < 100; i++) {
    const address = `10.0.0.${i}`;
    assert.equal(await all[i % 3]?.run({ user: 'ci', address }, right), true);
  }
});

test('while the catalog is away or stands still, each hub counts for itself', async () => {
  for (const call of [away, silent]) {
    const store = { charge: call, refund: call, isTrusted: call, purge: call };
    const [a, b] = hubs(store);
    assert.ok(a && b);
    assert.equal(await a.run({ user: 'bob', address: '10.0.0.1' }, right), true);
    assert.equal(await tried([a], 40, (i) => `10.0.0.${i}`), ACCOUNT_FAILURES_BURST);
    assert.equal(await tried([b], 40, (i) => `10.0.0.${i}`), ACCOUNT_FAILURES_BURST);
  }
});

test('what is typed as a name does not get into the catalog', async (t) => {
  const inner = await storeOf(t);
  const seen: string[] = [];
  const store: LoginStore = {
    charge: (charges) => inner.charge(charges.map((one) => (seen.push(one.name), one))),
    refund: (charges, trusted) => inner.refund(charges, (seen.push(trusted?.pair ?? ''), trusted)),
    isTrusted: (pair) => inner.isTrusted((seen.push(pair), pair)),
    purge: (max) => inner.purge(max),
  };
  const [hub] = hubs(store);
  await hub?.run({ user: 'my password', address: '10.0.0.1' }, wrong);
  await hub?.run({ user: 'ada', address: '10.0.0.1' }, right);
  assert.ok(seen.length > 0);
  assert.doesNotMatch(seen.join(), /password|ada|10\.0/);
});

test('a count that comes too late for its login is taken back', async (t) => {
  const inner = await storeOf(t);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const refunded = Promise.withResolvers<void>();
  const store: LoginStore = {
    charge: async (charges) => {
      asked.resolve();
      await answered.promise;
      return inner.charge(charges);
    },
    refund: (...ask) => inner.refund(...ask).then(refunded.resolve, refunded.reject),
    isTrusted: (pair) => inner.isTrusted(pair),
    purge: (max) => inner.purge(max),
  };
  const login = hubs(store, 1)[0]?.run({ user: 'ada', address: '10.0.0.1' }, right);
  await asked.promise;
  t.mock.timers.tick(LOGIN_STORE_TIMEOUT_MS);
  assert.equal(await login, true);
  answered.resolve();
  await refunded.promise;
  const others = hubs(inner, 1);
  assert.equal(await tried(others, 40, (i) => `10.0.1.${i}`), ACCOUNT_FAILURES_BURST);
});

test('however busy the catalog is, what was counted for a login is taken back', async () => {
  let [asked, counted] = [0, 0];
  const [verified, answered] = [Promise.withResolvers<boolean>(), Promise.withResolvers<void>()];
  const store: LoginStore = {
    charge: async () => {
      asked += 1;
      if (asked > LOGIN_STORE_CALLS_MAX) await answered.promise;
      counted += 1;
      return undefined;
    },
    refund: async () => void (counted -= 1),
    isTrusted: async () => false,
    purge: async () => {},
  };
  const [hub] = hubs(store, 1);
  assert.ok(hub);
  const logins = (network: string, attempt: () => Promise<boolean>) =>
    Array.from({ length: LOGIN_STORE_CALLS_MAX }, (_, i) =>
      hub.run({ user: `user ${network}${i}`, address: `${network}${i}` }, attempt),
    );
  const first = logins('10.0.0.', () => verified.promise);
  await new Promise(setImmediate);
  const later = logins('10.0.1.', right);
  await new Promise(setImmediate);
  verified.resolve(true);
  await Promise.all(first);
  await new Promise(setImmediate);
  assert.equal(counted, 0);
  answered.resolve();
  await Promise.all(later);
  assert.equal(counted, 0);
});
