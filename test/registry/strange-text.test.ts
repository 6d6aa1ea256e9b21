import { test, type TestContext } from 'node:test';
import { postgresForTests } from '../rig/postgres.ts';
import { assertManifestsNeverFail, assertNeverFails } from './strange-text.ts';
import { TestHub } from './test-hub.ts';

const { skip, server } = postgresForTests();

async function overPostgres(t: TestContext): Promise<TestHub> {
  const database = await server();
  const url = database.url(await database.createDatabase());
  const hub = await TestHub.start({ catalog: { url, tls: 'off' } });
  t.after(() => hub[Symbol.asyncDispose]());
  return hub;
}

async function overSqlite(t: TestContext): Promise<TestHub> {
  const hub = await TestHub.start();
  t.after(() => hub[Symbol.asyncDispose]());
  return hub;
}

test('no text in a request makes a hub fail', async (t) => {
  await assertNeverFails(await overSqlite(t));
});

test('no text in a request makes a hub over PostgreSQL fail', { skip }, async (t) => {
  await assertNeverFails(await overPostgres(t));
});

test('no text in a manifest makes a hub fail', async (t) => {
  await assertManifestsNeverFail(await overSqlite(t));
});

test('no text in a manifest makes a hub over PostgreSQL fail', { skip }, async (t) => {
  await assertManifestsNeverFail(await overPostgres(t));
});
