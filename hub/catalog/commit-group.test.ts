import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Kysely, sql } from 'kysely';
import { sqliteDialect } from './sqlite-dialect.ts';
import { transact } from './transact.ts';

type Tables = { item: { name: string } };

async function opened(t: TestContext) {
  const statements: string[] = [];
  const db = new Kysely<Tables>({
    dialect: sqliteDialect({ path: ':memory:' }),
    log: ({ query }) => void statements.push(query.sql),
  });
  t.after(() => db.destroy());
  await sql`create table item (name text primary key)`.execute(db);
  const add = (name: string) =>
    transact(db, async (trx) => {
      await trx.insertInto('item').values({ name }).execute();
      return name;
    });
  const names = async () =>
    (await db.selectFrom('item').select('name').orderBy('name').execute()).map(({ name }) => name);
  return { db, add, names, commits: () => statements.filter((text) => text === 'commit').length };
}

test('transactions that come at the same time share one commit', async (t) => {
  const { add, names, commits } = await opened(t);
  assert.deepEqual(await Promise.all(['a', 'b', 'c'].map(add)), ['a', 'b', 'c']);
  assert.equal(commits(), 1);
  assert.deepEqual(await names(), ['a', 'b', 'c']);
});

test('one that fails is undone whole, the others are not', async (t) => {
  const { db, add, names } = await opened(t);
  const half = transact(db, async (trx) => {
    await trx.insertInto('item').values({ name: 'half' }).execute();
    throw new Error('no more');
  });
  const all = await Promise.allSettled([add('a'), half, add('a'), add('b')]);
  assert.deepEqual(
    all.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(await names(), ['a', 'b']);
  assert.equal(await add('c'), 'c');
});

test('when the shared commit fails nobody is told that it went well', async (t) => {
  const { db, add, names } = await opened(t);
  const late = sql`references item (name) deferrable initially deferred`;
  await sql`create table part (name text ${late})`.execute(db);
  const orphan = transact(db, (trx) => sql`insert into part values ('nobody')`.execute(trx));
  const all = await Promise.allSettled([add('a'), orphan]);
  assert.deepEqual(
    all.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.deepEqual(await names(), []);
  assert.equal(await add('b'), 'b');
});

test('each sees what those before it did', async (t) => {
  const { db, add } = await opened(t);
  const count = () =>
    transact(db, async (trx) => (await trx.selectFrom('item').selectAll().execute()).length);
  assert.deepEqual(await Promise.all([count(), add('a'), count(), add('b'), count()]), [
    0,
    'a',
    1,
    'b',
    2,
  ]);
});
