import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { ADMIN_OPTIONS, basic, TestAccess } from './access-fixture.ts';
import { PASSWORD_FILE } from './admin-password.ts';
import { WRONG_PASSWORD_LOG_MS } from './constants.ts';

const ADMIN = basic('admin', 'pass:word');
const { adminPassword: _password, ...WITHOUT_PASSWORD } = ADMIN_OPTIONS;

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-access-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test('no header and empty Basic credentials are nobody, who reads what is public', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('open', 'public');
  await hub.project('secret');
  for (const header of [undefined, '', 'Basic Og==', 'basic Og==']) {
    const identity = await hub.identify(header);
    assert.deepEqual(identity, { subject: { kind: 'anonymous' }, epoch: '' });
    assert.equal(await hub.may(identity, 'open/app'), 'pull');
    assert.equal(await hub.may(identity, 'secret/app'), '');
    assert.equal(await hub.may(identity, 'unknown/app'), '');
  }
});

test('the admin is known by name and password, and may do everything', async (t) => {
  const hub = await TestAccess.open(t);
  const identity = await hub.identify(ADMIN);
  assert.deepEqual(identity.subject, { kind: 'admin' });
  assert.equal(await hub.may(identity, 'any/thing'), 'pull,push,delete');
  const wrong = [
    basic('admin', 'pass'),
    basic('admin', ''),
    basic('', 'pass:word'),
    basic('Admin', 'pass:word'),
    'Basic YWRtaW4=',
    'Basic',
    'Digest x',
    'Bearer x.y.z',
    `Bearer ${'x'.repeat(20_000)}`,
  ];
  for (const header of wrong) {
    await assert.rejects(hub.identify(header), { code: 'BAD_CREDENTIALS' }, header);
  }
});

test('a role gives rights in its project, in no other', async (t) => {
  const hub = await TestAccess.open(t);
  for (const name of ['p', 'q']) await hub.project(name);
  const rights = {
    guest: 'pull',
    developer: 'pull,push',
    maintainer: 'pull,push,delete',
    admin: 'pull,push,delete',
  } as const;
  for (const role of ['guest', 'developer', 'maintainer', 'admin'] as const) {
    const identity = await hub.identify(await hub.account(`an-${role}`, { p: role }));
    assert.deepEqual(identity.subject, { kind: 'account', name: `an-${role}` });
    assert.equal(await hub.may(identity, 'p/app'), rights[role]);
    assert.equal(await hub.may(identity, 'p/deep/app'), rights[role]);
    assert.equal(await hub.may(identity, 'q/app'), '');
    assert.equal(await hub.may(identity, 'pp/app'), '');
    assert.equal(await hub.may(identity, 'p'), '', 'a repository of the project library');
  }
});

test('a repository without a slash is of the project library', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('library');
  const identity = await hub.identify(await hub.account('ada', { library: 'developer' }));
  assert.equal(await hub.may(identity, 'app'), 'pull,push');
  assert.equal(await hub.may(identity, 'library/app'), 'pull,push');
});

test('a robot may what its permissions say in its project', async (t) => {
  const hub = await TestAccess.open(t);
  for (const name of ['p', 'q']) await hub.project(name);
  const header = await hub.robot('p', 'ci', [
    { repository: 'p/web-*', actions: ['pull', 'push'] },
    { repository: 'p/**', actions: ['pull'] },
    { repository: 'q/**', actions: ['pull', 'push', 'delete'] },
  ]);
  const identity = await hub.identify(header);
  assert.deepEqual(identity.subject, { kind: 'robot', project: 'p', name: 'ci' });
  assert.equal(await hub.may(identity, 'p/web-shop'), 'pull,push');
  assert.equal(await hub.may(identity, 'p/db'), 'pull');
  assert.equal(await hub.may(identity, 'q/app'), '', 'whatever it was written');
  for (const wrong of [basic('robot$q+ci', 'secret of ci'), basic('robot$p+ci', 'x')]) {
    await assert.rejects(hub.identify(wrong), { code: 'BAD_CREDENTIALS' });
  }
});

test('an expired robot, a disabled account and their old tokens are refused', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('p');
  const pull = [{ repository: 'p/**', actions: ['pull' as const] }];
  const robot = await hub.robot('p', 'ci', pull, hub.clock.nowMs + 10_000);
  const account = await hub.account('ada', { p: 'guest' });
  const tokens = [];
  for (const header of [robot, account]) {
    tokens.push(`Bearer ${(await hub.token(header, 'repository:p/app:pull')).token}`);
  }
  for (const header of [robot, account, ...tokens]) {
    assert.equal(await hub.may(await hub.identify(header), 'p/app'), 'pull');
  }
  hub.clock.nowMs += 10_000;
  await hub.store.changeAccount('ada', { disabled: true, nowMs: hub.clock.nowMs });
  for (const header of [robot, account, ...tokens]) {
    await assert.rejects(hub.identify(header), { code: 'BAD_CREDENTIALS' }, header);
  }
});

test('a changed password ends the old one and every token, though it was remembered', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('p');
  const header = await hub.account('ada', { p: 'guest' });
  const { token } = await hub.token(header, 'repository:p/app:pull');
  const passwordHash = await hub.access.passwords.hash('another one');
  await hub.store.changeAccount('ada', { passwordHash, nowMs: hub.clock.nowMs });
  hub.rights.changed();
  for (const old of [header, `Bearer ${token}`]) {
    await assert.rejects(hub.identify(old), { code: 'BAD_CREDENTIALS' });
  }
  assert.ok(await hub.identify(basic('ada', 'another one')));
});

test('a push of the admin makes the project, with the visibility configured', async (t) => {
  for (const visibility of ['public', 'private'] as const) {
    const options = { ...ADMIN_OPTIONS, defaultVisibility: visibility };
    const hub = await TestAccess.open(t, { options });
    const nobody = await hub.identify(undefined);
    await hub.access.adoptProject(nobody, 'team/app');
    assert.equal(await hub.rights.visibilityOf('team'), undefined);
    await hub.access.adoptProject(await hub.identify(ADMIN), 'team/app');
    await hub.access.adoptProject(await hub.identify(ADMIN), 'app');
    assert.equal(await hub.rights.visibilityOf('team'), visibility);
    assert.equal(await hub.rights.visibilityOf('library'), visibility);
    assert.equal(await hub.may(nobody, 'app'), visibility === 'public' ? 'pull' : '');
  }
});

test('a password is made once, for the owner of the folder only', async (t) => {
  const dataDir = await folderOf(t);
  const options = { ...WITHOUT_PASSWORD, adminUsername: 'root' };
  const open = () => TestAccess.open(t, { options, dataDir });
  const [one, other] = await Promise.all([open(), open()]);
  const file = join(dataDir, PASSWORD_FILE);
  const password = (await readFile(file, 'utf8')).trim();
  assert.ok(password.length >= 32);
  assert.equal((await stat(file)).mode % 0o1000, 0o600);
  for (const each of [one, other, await open()]) {
    assert.equal((await each.identify(basic('root', password))).subject.kind, 'admin');
  }
});

test('a password file is read without its line end; an empty one is refused', async (t) => {
  const dataDir = await folderOf(t);
  const adminPasswordFile = join(dataDir, 'secret');
  const options = { ...WITHOUT_PASSWORD, adminPasswordFile };
  await writeFile(adminPasswordFile, ' s3cret \r\n');
  const hub = await TestAccess.open(t, { options, dataDir });
  assert.equal((await hub.identify(basic('admin', ' s3cret '))).subject.kind, 'admin');
  const both = TestAccess.open(t, { options: { ...options, adminPassword: 'x' }, dataDir });
  await assert.rejects(both, { code: 'PASSWORD_TWICE' });
  await writeFile(adminPasswordFile, '\n');
  await assert.rejects(TestAccess.open(t, { options, dataDir }), { code: 'PASSWORD_EMPTY' });
});

test('whoever guesses the password is noticed, in few lines and without the guesses', async (t) => {
  const hub = await TestAccess.open(t);
  const guess = (i: number): Promise<void> =>
    assert.rejects(hub.identify(basic('admin', 'guess'), `10.0.1.${i}`), {
      code: 'BAD_CREDENTIALS',
    });
  await Promise.all(Array.from({ length: 8 }, (_, i) => guess(i)));
  assert.equal(hub.lines.length, 1);
  hub.clock.nowMs += WRONG_PASSWORD_LOG_MS;
  await guess(9);
  assert.equal(hub.lines.length, 2);
  assert.match(hub.lines[1] ?? '', /"attempts":8/);
  assert.ok(!hub.lines.join().includes('guess'));
});

test('a password that is changed while it is looked at is worth nothing any more', async (t) => {
  const hub = await TestAccess.open(t);
  await hub.project('p');
  const header = await hub.account('bob', { p: 'guest' });
  const passwordHash = await hub.access.passwords.hash('another password');
  const looking = Promise.allSettled(Array.from({ length: 3 }, () => hub.identify(header)));
  // Its row is read by now, and its hash is being made.
  await hub.rights.account('bob');
  await hub.store.changeAccount('bob', { passwordHash, nowMs: hub.clock.nowMs });
  hub.rights.changed();
  assert.deepEqual(
    (await looking).map(({ status }) => status),
    Array(3).fill('rejected'),
  );
  await assert.rejects(hub.identify(header), { code: 'BAD_CREDENTIALS' });
});
