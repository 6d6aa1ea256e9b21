import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { OutageLog } from '../../proto/ops/outage-log.ts';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { until } from '../../test/rig/until.ts';
import { awaitPostgresCatalog } from './await-postgres.ts';

const RECOVERY_MS = 30_000;
const { skip, server: postgres } = postgresForTests();

/** An empty database, and what a hub that uses it logs. */
async function place(t: TestContext) {
  const server = await postgres();
  const database = await server.createDatabase();
  t.after(() => server.resume());
  const lines: string[] = [];
  const write = (line: string): void => {
    const { level, msg } = JSON.parse(line);
    lines.push(`${level} ${msg}`);
  };
  const logger = createLogger({ level: 'info', name: 'hub' }, { write });
  const outage = new OutageLog({ what: 'PostgreSQL' }, { logger });
  return { server, options: { ...server.target, database, outage }, logger, lines };
}

test('a hub that starts before PostgreSQL waits for it, and says so once', { skip }, async (t) => {
  const { server, options, logger, lines } = await place(t);
  await server.stop();
  const opening = awaitPostgresCatalog(options, { logger });
  await until('it waits', RECOVERY_MS, async () => (lines.length > 0 ? true : undefined));
  await server.resume();
  const catalog = await opening;
  assert.deepEqual(await catalog.repositories({ n: 1 }), []);
  assert.deepEqual(lines, ['warn the hub waits for PostgreSQL before it starts']);
  await catalog.close();
});

test('it does not wait for ever, nor for what no time mends', { skip }, async (t) => {
  const { server, options, logger, lines } = await place(t);
  const database = await server.createDatabase(
    `encoding 'LATIN1' template template0 locale_provider libc locale 'C'`,
  );
  await assert.rejects(awaitPostgresCatalog({ ...options, database }, { logger }), {
    code: 'DATABASE_UNFIT',
  });
  assert.deepEqual(lines, []);
  await server.stop();
  await assert.rejects(awaitPostgresCatalog(options, { logger, waitMs: 300 }), {
    code: 'CATALOG_UNAVAILABLE',
  });
});

test(
  'an outage is told at its begin and its end, however many calls it ends',
  { skip },
  async (t) => {
    const { server, options, logger, lines } = await place(t);
    const catalog = await awaitPostgresCatalog(options, { logger });
    t.after(() => catalog.close());
    const ask = () => catalog.repositories({ n: 1 });
    await ask();
    await server.stop();
    for (const call of await Promise.allSettled(Array.from({ length: 20 }, ask))) {
      assert.equal(call.status, 'rejected');
    }
    assert.deepEqual(lines, ['warn PostgreSQL does not answer']);
    await server.resume();
    await until('it is served again', RECOVERY_MS, () => ask().catch(() => undefined));
    await Promise.all(Array.from({ length: 20 }, ask));
    assert.deepEqual(lines, ['warn PostgreSQL does not answer', 'info PostgreSQL answers again']);
  },
);
