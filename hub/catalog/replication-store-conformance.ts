// What the store of replication must do, whatever the database.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Kysely } from 'kysely';
import { digestOf } from '../../proto/oci/digest.ts';
import type { ArtifactResult, ReplicationStore } from '../replication/store.ts';
import { KyselyJobStore, type JobTables } from './job-store.ts';
import { KyselyReplicationStore, type ReplicationTables } from './replication-store.ts';

type Tables = JobTables & ReplicationTables;
type Rig = {
  store: ReplicationStore;
  db: Kysely<Tables>;
  /** The id of a job that has begun. */
  execution: () => Promise<string>;
};

const RULE = {
  name: 'nightly',
  enabled: true,
  settings: { direction: 'pull', registry: 'other', repositories: ['team/*'] },
  changedMs: 1_700_000_000_000,
} as const;
const DIGEST = digestOf(Buffer.from('a blob'));
const COUNTS = { copied: 1, mounted: 2, present: 3, manifests: 4, referrers: 5, bytes: 2 ** 40 };

function rule(fields: { name?: string; enabled?: boolean } = {}) {
  const { settings } = RULE;
  return { ...RULE, settings: { ...settings, repositories: ['team/*'] }, ...fields };
}

function result(fields: Partial<ArtifactResult> = {}): ArtifactResult {
  return {
    repository: 'team/app',
    reference: 'v1',
    destination: 'copies/team/app',
    digest: undefined,
    state: 'copied',
    message: '',
    counts: COUNTS,
    attempts: 1,
    ...fields,
  };
}

const CASES: Record<string, (rig: Rig) => Promise<void>> = {
  'a rule is there once, changes, and goes': async ({ store }) => {
    assert.equal(await store.addRule(rule(), { max: 2 }), 'ok');
    assert.equal(await store.addRule(rule(), { max: 2 }), 'exists');
    assert.equal(await store.addRule(rule({ name: 'weekly' }), { max: 2 }), 'ok');
    assert.equal(await store.addRule(rule({ name: 'yearly' }), { max: 2 }), 'full');
    assert.deepEqual(await store.rule('nightly'), rule());
    assert.equal(await store.changeRule(rule({ enabled: false })), true);
    assert.equal((await store.rule('nightly'))?.enabled, false);
    assert.equal(await store.changeRule(rule({ name: 'yearly' })), false);
    assert.equal(await store.dropRule('nightly'), true);
    assert.equal(await store.dropRule('nightly'), false);
    assert.deepEqual(
      (await store.rules()).map(({ name }) => name),
      ['weekly'],
    );
  },

  'the bound holds when rules are made at once': async ({ store }) => {
    const names = Array.from({ length: 8 }, (_, i) => `rule-${i}`);
    const verdicts = await Promise.all(
      names.map((name) => store.addRule(rule({ name }), { max: 3 })),
    );
    assert.equal(verdicts.filter((one) => one === 'ok').length, 3);
  },

  'what became of artifacts is told in pages, the last word of each': async (rig) => {
    const { store } = rig;
    const id = await rig.execution();
    await store.noteResult(id, result({ state: 'copying', message: 'attempt\0 1' }));
    await store.noteResult(id, result({ digest: 'sha256:abc' }));
    await store.noteResult(id, result({ reference: 'v2', state: 'failed', message: 'cut' }));
    await store.noteResult(id, result({ repository: 'team/b', state: 'skipped' }));
    const first = await store.results(id, { n: 2 });
    const told = first.map(({ repository, reference, state }) => [repository, reference, state]);
    assert.deepEqual(told, [
      ['team/app', 'v1', 'copied'],
      ['team/app', 'v2', 'failed'],
    ]);
    assert.deepEqual(first[0]?.counts, COUNTS);
    assert.equal(first[0]?.digest, 'sha256:abc');
    const last = { repository: 'team/app', reference: 'v2' };
    const [next, ...rest] = await store.results(id, { n: 2, last });
    assert.deepEqual([next?.repository, rest], ['team/b', []]);
    const failed = await store.results(id, { n: 9, state: 'failed' });
    assert.deepEqual(
      failed.map(({ message }) => message),
      ['cut'],
    );
    assert.deepEqual(Object.fromEntries(await store.states(id)), {
      'team/app v1': 'copied',
      'team/app v2': 'failed',
      'team/b v1': 'skipped',
    });
    assert.deepEqual(await store.results(await rig.execution(), { n: 9 }), []);
  },

  'results go with their execution': async (rig) => {
    const id = await rig.execution();
    await rig.store.noteResult(id, result());
    await rig.db.deleteFrom('job').where('id', '=', id).execute();
    assert.deepEqual(await rig.store.results(id, { n: 9 }), []);
  },

  'a half-copied blob is found again until it is done, or old': async ({ store, db }) => {
    await store.setTransfer('other', 'team/app', DIGEST, 'first');
    await store.setTransfer('other', 'team/app', DIGEST, 'second');
    await store.setTransfer('', 'team/app', DIGEST, 'here');
    assert.equal(await store.transfer('other', 'team/app', DIGEST), 'second');
    assert.equal(await store.transfer('other', 'team/b', DIGEST), undefined);
    await store.dropTransfer('other', 'team/app', DIGEST);
    assert.equal(await store.transfer('other', 'team/app', DIGEST), undefined);
    await store.sweepTransfers(60_000);
    assert.equal(await store.transfer('', 'team/app', DIGEST), 'here');
    await db
      .updateTable('replication_transfer')
      .set((own) => ({ changed_at_ms: own('changed_at_ms', '-', 60_001).$castTo<number>() }))
      .execute();
    await store.sweepTransfers(60_000);
    assert.equal(await store.transfer('', 'team/app', DIGEST), undefined);
  },
};

/** Tests of the store in one place; `open` gives an empty database. */
export function replicationStoreConformance(
  where: string,
  open: (t: TestContext) => Promise<Kysely<Tables>>,
  options: { skip?: string | false } = {},
): void {
  for (const [promise, check] of Object.entries(CASES)) {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => {
      const db = await open(t);
      const jobs = new KyselyJobStore({ holder: 'a' }, { db: db.withTables<JobTables>() });
      const job = { kind: 'replication', subject: 'nightly', payload: '{}', attemptsMax: 1 };
      await check({
        store: new KyselyReplicationStore({ db: db.withTables<ReplicationTables>() }),
        db,
        execution: async () => (await jobs.add(job)).id,
      });
    });
  }
}
