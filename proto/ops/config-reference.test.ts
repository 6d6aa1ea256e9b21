import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Type } from 'typebox';
import { configKeys } from './config-reference.ts';

test('keys of entries are told below their list, also of lists in lists', () => {
  const account = Type.Object({ password: Type.String({ description: 'of the account' }) });
  const registry = Type.Object({
    name: Type.String({ description: 'host' }),
    accounts: Type.Array(account, { description: 'who asks', default: [] }),
    tags: Type.Array(Type.String({ description: 'a tag' }), { description: 'some', default: [] }),
  });
  const list = Type.Array(registry, { description: 'registries', default: [] });
  const keys = configKeys(Type.Object({ fetch: Type.Object({ registries: list }) }));
  assert.deepEqual(
    keys.map(({ key, env }) => [key, env]),
    [
      ['fetch.registries', 'FLOTILLA_FETCH_REGISTRIES'],
      ['fetch.registries[].name', ''],
      ['fetch.registries[].accounts', ''],
      ['fetch.registries[].accounts[].password', ''],
      ['fetch.registries[].tags', ''],
    ],
  );
  assert.equal(keys.at(3)?.required, true);
});
