import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../proto/ops/config.ts';
import { checkedOptions, HubOptions } from '../options.ts';

function check(catalog: object): ReturnType<typeof checkedOptions>['postgres'] {
  return checkedOptions(loadConfig(HubOptions, { text: JSON.stringify({ catalog }), env: {} }))
    .postgres;
}

test('without a URL the catalog is SQLite; with one it is where the URL says', () => {
  assert.equal(check({}), undefined);
  const rest = { tls: true, connections: 16 };
  assert.deepEqual(check({ url: 'postgres://hub@db.example/registry' }), {
    ...rest,
    host: 'db.example',
    port: 5432,
    user: 'hub',
    database: 'registry',
  });
  const far = { url: 'postgresql://a%40b@[fd00::1]:6432/x-y', tls: 'off', passwordFile: '/p' };
  assert.deepEqual(check(far), {
    host: 'fd00::1',
    port: 6432,
    user: 'a@b',
    database: 'x-y',
    tls: false,
    connections: 16,
    passwordFile: '/p',
  });
  assert.deepEqual(check({ url: 'postgres://hub@/registry?host=/run/postgresql&port=5433' }), {
    host: '/run/postgresql',
    port: 5433,
    user: 'hub',
    database: 'registry',
    tls: false,
    connections: 16,
  });
});

test('a URL that is not understood whole stops the start, and no secret is told', () => {
  const cases: [string, RegExp][] = [
    ['mysql://hub@db/registry', /postgres:\/\//],
    ['postgres://hub:hidden@db/registry', /passwordFile/],
    ['postgres://hub@db/registry?sslmode=disable', /sslmode/],
    ['postgres://hub@db/registry?host=db', /no folder/],
    ['postgres://hub@/registry', /no host/],
    ['postgres://db/registry', /no user/],
    ['postgres://hub@db/', /no database/],
    ['postgres://hub@db/registry?port=0', /port/],
    ['postgres://hub@db/%', /%/],
  ];
  for (const [url, message] of cases) {
    assert.throws(
      () => check({ url }),
      (err: Error & { code?: string }) => {
        assert.equal(err.code, 'CONFIG_INVALID');
        assert.match(err.message, message);
        assert.match(err.message, /catalog\.url/);
        assert.doesNotMatch(err.message, /hidden/);
        return true;
      },
      url,
    );
  }
});

test('settings of the catalog that contradict each other stop the start', () => {
  const url = 'postgres://hub@db/registry';
  const cases: [object, RegExp][] = [
    [{ url, password: 'a', passwordFile: '/p' }, /catalog\.passwordFile/],
    [{ url, tls: 'off', caFile: '/ca' }, /catalog\.caFile/],
    [{ caFile: '/ca' }, /catalog\.caFile.*catalog\.url/],
    [{ url, connections: 1 }, /catalog\.connections/],
  ];
  for (const [catalog, message] of cases) {
    assert.throws(() => check(catalog), { code: 'CONFIG_INVALID', message });
  }
});
