// How much longer the lists of a hub take with a full catalog than with a small one.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { parseArgs } from 'node:util';
import { openPostgresCatalog } from '../../hub/catalog/postgres-catalog.ts';
import { openSqliteCatalog } from '../../hub/catalog/sqlite-catalog.ts';
import { TestHub } from '../../test/registry/test-hub.ts';
import { fillStatements, REPOSITORY, SBOM, SUBJECT, tagOf } from '../../test/rig/full-catalog.ts';
import { PostgresServer } from '../../test/rig/postgres.ts';
import { median } from '../rig/cpu.ts';

const HELP = `usage: node bench/registry/lists-main.ts [--manifests N] [--small N] [--json FILE]

Fills a catalog with N manifests (default 1000000) and another with fewer (default 1000), on SQLite
and on PostgreSQL, and asks the hubs on them for the same pages in turn. Prints medians in ms.
`;
const ROUNDS = 300;
const WARM_UP_ROUNDS = 30;
const PAGE = 100;

type Pair = { engine: string; small: TestHub; full: TestHub };
type Figure = { engine: string; list: string; smallMs: number; fullMs: number; ratio: number };

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function onSqlite(count: number, stack: AsyncDisposableStack): Promise<TestHub> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-lists-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'catalog.sqlite');
  await (await openSqliteCatalog({ path: file })).close();
  const database = new DatabaseSync(file);
  for (const text of fillStatements('sqlite', count)) database.exec(text);
  database.close();
  return stack.use(await TestHub.start({}, { folder }));
}

async function onPostgres(
  server: PostgresServer,
  count: number,
  stack: AsyncDisposableStack,
): Promise<TestHub> {
  const database = await server.createDatabase();
  await (await openPostgresCatalog({ ...server.target, database })).close();
  await server.script(database, fillStatements('postgres', count));
  return stack.use(await TestHub.start({ catalog: { url: server.url(database), tls: 'off' } }));
}

async function timed(hub: TestHub, target: string): Promise<number> {
  const started = performance.now();
  const { status, body } = await hub.ask(target);
  if (status !== 200) throw new Error(`${target}: ${status} ${body.toString()}`);
  return performance.now() - started;
}

/** The same page of both, in turn, so that the machine treats them alike. */
async function measure(pair: Pair, list: string, targets: [string, string]): Promise<Figure> {
  const small: number[] = [];
  const full: number[] = [];
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one request at a time
    const times = [await timed(pair.small, targets[0]), await timed(pair.full, targets[1])];
    if (round < 0) continue;
    small.push(times[0] ?? 0);
    full.push(times[1] ?? 0);
  }
  const [smallMs, fullMs] = [median(small), median(full)];
  return { engine: pair.engine, list, smallMs, fullMs, ratio: fullMs / smallMs };
}

function targetsAt(count: number): Record<string, string> {
  const tags = `/v2/${REPOSITORY}/tags/list?n=${PAGE}`;
  const referrers = `/v2/${REPOSITORY}/referrers/${SUBJECT}?n=${PAGE}`;
  const middle = tagOf(Math.floor(count / 2));
  return {
    'first tags': tags,
    'tags from the middle': `${tags}&last=${middle}`,
    repositories: `/v2/_catalog?n=${PAGE}`,
    referrers,
    'referrers of a type': `${referrers}&artifactType=${SBOM}`,
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      manifests: { type: 'string', default: '1000000' },
      small: { type: 'string', default: '1000' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return say(HELP);
  const [small, full] = [Number(values.small), Number(values.manifests)];
  await using stack = new AsyncDisposableStack();
  const server = await PostgresServer.start();
  stack.defer(() => server.stop());
  const started = performance.now();
  const pairs: Pair[] = [
    {
      engine: 'SQLite',
      small: await onSqlite(small, stack),
      full: await onSqlite(full, stack),
    },
    {
      engine: 'PostgreSQL',
      small: await onPostgres(server, small, stack),
      full: await onPostgres(server, full, stack),
    },
  ];
  say(
    `filled in ${((performance.now() - started) / 1000).toFixed(0)} s; ${ROUNDS} pages of ${PAGE}`,
  );
  const figures: Figure[] = [];
  const fullTargets = targetsAt(full);
  for (const pair of pairs) {
    for (const [list, target] of Object.entries(targetsAt(small))) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const figure = await measure(pair, list, [target, fullTargets[list] ?? target]);
      figures.push(figure);
      const { smallMs, fullMs, ratio } = figure;
      const times = `${smallMs.toFixed(2)} ms with ${small}, ${fullMs.toFixed(2)} ms with ${full}`;
      say(`${pair.engine}, ${list}: ${times}: ${ratio.toFixed(2)} times`);
    }
  }
  if (values.json !== undefined) {
    await writeFile(values.json, `${JSON.stringify({ small, full, figures }, undefined, 2)}\n`);
  }
}

await main();
