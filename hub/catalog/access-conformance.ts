import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { AccessStore, AccountRow, RefreshRow, RobotRow } from '../access/store.ts';

const MAX = { max: 100 };
const NOW = 1_700_000_000_000;

function project(name: string, visibility: 'public' | 'private' = 'private') {
  return { name, visibility, createdAtMs: NOW };
}

function account(name: string): AccountRow {
  return { name, passwordHash: `hash of ${name}`, disabled: false, epoch: NOW, createdAtMs: NOW };
}

function robot(fields: { project: string; name: string }): RobotRow {
  return {
    ...fields,
    description: 'builds',
    secretHash: 'ab'.repeat(32),
    permissions: [{ repository: `${fields.project}/**`, actions: ['pull', 'push'] }],
    expiresAtMs: NOW + 1000,
    disabled: false,
    epoch: NOW,
    createdAtMs: NOW,
  };
}

function refresh(hash: string, fields: Partial<RefreshRow> = {}): RefreshRow {
  return {
    hash,
    family: 'f',
    subject: 'account:ada',
    service: 'flotilla',
    epoch: '1',
    expiresAtMs: NOW + 1000,
    replacedAtMs: undefined,
    ...fields,
  };
}

function names(rows: readonly { name: string }[]): string[] {
  return rows.map(({ name }) => name);
}

export type AccessStoreRig = {
  store: AccessStore;
  /** As a push does. */
  addRepository: (name: string) => Promise<void>;
};

type Open = (t: TestContext) => Promise<AccessStoreRig>;

/** What every database has to do for accounts, projects and robots. */
export function accessStoreConformance(
  database: string,
  open: Open,
  { skip = false }: { skip?: string | false } = {},
): void {
  projectPromises(database, open, skip);
  accountPromises(database, open, skip);
  tokenPromises(database, open, skip);
}

function projectPromises(database: string, open: Open, skip: string | false): void {
  test(`${database}: a project is there once, changes and goes`, { skip }, async (t) => {
    const { store } = await open(t);
    assert.equal(await store.addProject(project('team'), MAX), 'ok');
    assert.equal(await store.addProject(project('team', 'public'), MAX), 'exists');
    assert.deepEqual(await store.project('team'), project('team'));
    assert.equal(await store.setVisibility('team', 'public'), true);
    assert.equal((await store.project('team'))?.visibility, 'public');
    assert.equal(await store.setVisibility('other', 'public'), false);
    assert.equal(await store.addProject(project('more'), { max: 1 }), 'full');
    assert.equal(await store.deleteProject('team'), 'ok');
    assert.equal(await store.deleteProject('team'), 'unknown');
    assert.equal(await store.project('team'), undefined);
  });

  test(`${database}: a project with repositories stays`, { skip }, async (t) => {
    const { store, addRepository } = await open(t);
    for (const name of ['a', 'a-b', 'library', 'z']) await store.addProject(project(name), MAX);
    for (const name of ['a/x', 'short']) await addRepository(name);
    assert.equal(await store.deleteProject('a'), 'in-use');
    assert.equal(await store.deleteProject('library'), 'in-use');
    assert.equal(await store.deleteProject('a-b'), 'ok');
    assert.equal(await store.deleteProject('z'), 'ok');
  });

  test(`${database}: lists go on after a name, in the order of bytes`, { skip }, async (t) => {
    const { store } = await open(t);
    for (const name of ['b', 'a-b', 'a', 'c0']) {
      await store.addProject(project(name), MAX);
      await store.addAccount(account(name), MAX);
    }
    assert.deepEqual(names(await store.projects({ n: 2 })), ['a', 'a-b']);
    assert.deepEqual(names(await store.projects({ n: 9, last: 'a-b' })), ['b', 'c0']);
    assert.deepEqual(names(await store.accounts({ n: 9, last: 'a' })), ['a-b', 'b', 'c0']);
  });

  test(`${database}: who sees which project`, { skip }, async (t) => {
    const { store } = await open(t);
    await store.addProject(project('open', 'public'), MAX);
    await store.addProject(project('own'), MAX);
    await store.addProject(project('secret'), MAX);
    await store.addAccount(account('ada'), MAX);
    await store.putMember('own', { account: 'ada', role: 'guest' });
    const seen = async (name?: string) =>
      (await store.projectsOf(name, { n: 9 })).map((row) => row.name);
    assert.deepEqual(await seen(), ['open']);
    assert.deepEqual(await seen('ada'), ['open', 'own']);
    assert.deepEqual(
      (await store.projectsOf('ada', { n: 9, last: 'open' })).map((row) => row.name),
      ['own'],
    );
  });
}

function accountPromises(database: string, open: Open, skip: string | false): void {
  test(`${database}: every change of an account moves its epoch`, { skip }, async (t) => {
    const { store } = await open(t);
    assert.equal(await store.addAccount(account('ada'), MAX), 'ok');
    assert.equal(await store.addAccount(account('ada'), MAX), 'exists');
    assert.equal(await store.addAccount(account('bob'), { max: 1 }), 'full');
    assert.deepEqual(await store.account('ada'), account('ada'));
    assert.equal(await store.account('bob'), undefined);
    assert.equal(await store.changeAccount('ada', { disabled: true, nowMs: NOW - 5 }), true);
    const disabled = { ...account('ada'), disabled: true, epoch: NOW + 1 };
    assert.deepEqual(await store.account('ada'), disabled);
    await store.changeAccount('ada', { passwordHash: 'new', nowMs: NOW + 50 });
    assert.deepEqual(await store.account('ada'), {
      ...disabled,
      passwordHash: 'new',
      epoch: NOW + 50,
    });
    assert.equal(await store.changeAccount('bob', { nowMs: NOW }), false);
  });

  test(`${database}: memberships end with their account or project`, { skip }, async (t) => {
    const { store } = await open(t);
    for (const name of ['p', 'q']) await store.addProject(project(name), MAX);
    for (const name of ['ada', 'bob']) await store.addAccount(account(name), MAX);
    assert.equal(await store.putMember('none', { account: 'ada', role: 'guest' }), false);
    assert.equal(await store.putMember('p', { account: 'none', role: 'guest' }), false);
    for (const name of ['ada', 'bob']) {
      assert.equal(await store.putMember('p', { account: name, role: 'guest' }), true);
    }
    await store.putMember('q', { account: 'ada', role: 'admin' });
    await store.putMember('p', { account: 'ada', role: 'developer' });
    assert.deepEqual(await store.members('p', { n: 9 }), [
      { account: 'ada', role: 'developer' },
      { account: 'bob', role: 'guest' },
    ]);
    assert.deepEqual(await store.members('p', { n: 9, last: 'ada' }), [
      { account: 'bob', role: 'guest' },
    ]);
    await store.deleteAccount('bob');
    assert.equal(await store.member('p', 'bob'), undefined);
    assert.equal(await store.deleteMember('p', 'ada'), true);
    assert.equal(await store.deleteMember('p', 'ada'), false);
    assert.deepEqual(await store.member('q', 'ada'), { account: 'ada', role: 'admin' });
    await store.deleteProject('q');
    assert.equal(await store.member('q', 'ada'), undefined);
  });
}

function tokenPromises(database: string, open: Open, skip: string | false): void {
  test(`${database}: a robot is of one project`, { skip }, async (t) => {
    const { store } = await open(t);
    const row = robot({ project: 'p', name: 'ci' });
    assert.equal(await store.addRobot(row, MAX), 'unknown');
    for (const name of ['p', 'q']) await store.addProject(project(name), MAX);
    assert.equal(await store.addRobot(row, MAX), 'ok');
    assert.equal(await store.addRobot(row, MAX), 'exists');
    assert.equal(await store.addRobot({ ...row, name: 'cd' }, { max: 1 }), 'full');
    assert.deepEqual(await store.robot('p', 'ci'), row);
    assert.equal(await store.robot('q', 'ci'), undefined);
    assert.equal(await store.changeRobot('q', 'ci', { nowMs: NOW }), false);
    assert.equal(await store.deleteRobot('q', 'ci'), false);
    const change = { secretHash: 'cd', disabled: true, expiresAtMs: null, nowMs: NOW + 9 };
    assert.equal(await store.changeRobot('p', 'ci', change), true);
    const { expiresAtMs: _, ...rest } = row;
    const changed = { ...rest, secretHash: 'cd', disabled: true, epoch: NOW + 9 };
    assert.deepEqual(await store.robot('p', 'ci'), { ...changed, expiresAtMs: undefined });
    assert.equal((await store.robots('p', { n: 9 })).length, 1);
    assert.equal((await store.robots('q', { n: 9 })).length, 0);
    await store.deleteProject('p');
    assert.equal(await store.robot('p', 'ci'), undefined);
  });

  test(`${database}: refresh tokens are bounded, replaced once, and end`, { skip }, async (t) => {
    const { store } = await open(t);
    const limits = { nowMs: NOW, max: 2 };
    assert.equal(await store.addRefresh(refresh('1', { expiresAtMs: NOW + 1 }), limits), true);
    assert.deepEqual(await store.refresh('1'), refresh('1', { expiresAtMs: NOW + 1 }));
    await store.addRefresh(refresh('2', { expiresAtMs: NOW + 2 }), limits);
    await store.addRefresh(refresh('x', { subject: 'account:bob', family: 'g' }), limits);
    await store.addRefresh(refresh('3'), limits);
    assert.equal(await store.refresh('1'), undefined, 'the oldest of the subject');
    const replaces = { ...limits, max: 9, replaces: '3' };
    assert.equal(await store.addRefresh(refresh('4'), replaces), true);
    assert.equal((await store.refresh('3'))?.replacedAtMs, NOW);
    assert.equal(await store.addRefresh(refresh('5'), replaces), false);
    assert.equal(await store.refresh('5'), undefined);
    await store.addRefresh(refresh('6', { family: 'h' }), { nowMs: NOW + 2, max: 9 });
    assert.equal(await store.refresh('2'), undefined, 'it had expired');
    await store.deleteFamily('f');
    assert.equal(await store.refresh('4'), undefined);
    assert.equal(await store.deleteRefreshOf('account:ada'), 1);
    assert.ok(await store.refresh('x'));
  });
}
