// A catalog that is older than what was issued and ended since.
import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { TOKEN_PATH } from '../../hub/http/guard.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { BASIC, TestHub } from '../registry/test-hub.ts';
import { backup, check, restore, scratch } from './backup-rig.ts';
import { FleetNode } from './fleet-node.ts';

const LAYER = Buffer.from('a layer');
const PUBLIC = '/v2/team/app/manifests/v1';

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

/** A hub with an image, accounts and a robot, and where its backup is. */
async function populated(t: TestContext) {
  const folder = await scratch(t);
  const hub = await TestHub.start();
  t.after(() => hub[Symbol.asyncDispose]());
  const { digest } = await hub.pushImage('v1', [LAYER]);
  for (const name of ['ada', 'bob']) {
    await hub.api('POST', '/accounts', { name, password: `password of ${name}` });
    await hub.api('PUT', `/projects/team/members/${name}`, { role: 'developer' });
  }
  const permissions = [{ repository: 'team/**', actions: ['pull', 'push'] }];
  const { json } = await hub.api('POST', '/projects/team/robots', { name: 'ci', permissions });
  const robot = basic(String(json['login']), String(json['secret']));
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  const keyRing = await readFile(ring, 'utf8');
  const at = (name: string): string => path.join(folder, name);
  return { hub, digest, robot, keyRing, at };
}

async function token(hub: TestHub, authorization: string) {
  const scope = 'repository:team/app:pull,push';
  const target = `${TOKEN_PATH}?service=flotilla&offline_token=true&scope=${scope}`;
  const { status, body } = await hub.ask(target, { authorization });
  assert.equal(status, 200);
  const answer: { token: string; refresh_token: string } = JSON.parse(body.toString());
  return answer;
}

async function refresh(hub: TestHub, refreshToken: string): Promise<number> {
  const grant = { grant_type: 'refresh_token', refresh_token: refreshToken };
  const body = new URLSearchParams({ ...grant, service: 'flotilla', client_id: 'test' }).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return (await hub.ask(TOKEN_PATH, { method: 'POST', headers, body, authorization: undefined }))
    .status;
}

async function mayPush(hub: TestHub, authorization: string | undefined): Promise<boolean> {
  const target = '/v2/team/app/blobs/uploads/';
  return (await hub.ask(target, { method: 'POST', authorization })).status === 202;
}

test('no serial is issued twice, however often a backup is restored', async (t) => {
  const { hub, keyRing, at } = await populated(t);
  const first = await new FleetNode('first').enrol(hub);
  await backup(hub, at('backup'), { keyRing });
  const used = new Set([first.serial]);
  for (const name of ['later', 'latest']) used.add((await new FleetNode(name).enrol(hub)).serial);
  for (const dir of ['one', 'two']) {
    await restore(at('backup'), at(dir), { policy: 'kept' });
    await using again = await TestHub.start({}, { folder: at(dir) });
    const newest = Math.max(...used);
    for (const name of ['new', 'newer']) {
      const { serial } = await new FleetNode(name).enrol(again);
      assert.ok(serial > newest, `${serial} may have been issued, as ${newest} was`);
      used.add(serial);
    }
  }
});

test('whatever was issued before a restore is refused after it', async (t) => {
  const { hub, robot, at } = await populated(t);
  const node = new FleetNode('node');
  await node.enrol(hub);
  const invitation = await hub.hub.createJoinToken({ uses: 9 });
  const ada = basic('ada', 'password of ada');
  const issued = await Promise.all([token(hub, ada), token(hub, robot), token(hub, BASIC)]);
  await backup(hub, at('backup'));
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  const keyRing = await readFile(ring, 'utf8');
  await restore(at('backup'), at('kept'), { policy: 'kept', keyRing });
  await using again = await TestHub.start({}, { folder: at('kept') });
  for (const { token: bearer, refresh_token: secret } of issued) {
    assert.equal(await mayPush(hub, `Bearer ${bearer}`), true);
    assert.equal(await mayPush(again, `Bearer ${bearer}`), false);
    assert.equal(await refresh(again, secret), 401);
  }
  await assert.rejects(new FleetNode('other').enrol(again, invitation), /TOKEN_INVALID/);
  assert.ok(await mayPush(again, ada), 'rights were asked to be kept');
  assert.ok(await mayPush(again, robot));
  await node.pollKeys(again);
  assert.equal(node.verify(node.certificate).node, 'node', 'memberships too');
  assert.equal(await node.renew(again), '');
});

test('unless told otherwise nobody but the admin has rights after a restore', async (t) => {
  const { hub, robot, keyRing, at } = await populated(t);
  const node = new FleetNode('node');
  await node.enrol(hub);
  await backup(hub, at('backup'));
  assert.equal((await hub.ask(PUBLIC, { authorization: undefined })).status, 200);
  const { locked } = await restore(at('backup'), at('data'), { keyRing });
  assert.deepEqual(locked, {
    accounts: ['ada', 'bob'],
    robots: ['team/ci'],
    projects: ['team'],
    nodes: 1,
  });
  await using again = await TestHub.start({}, { folder: at('data') });
  assert.equal((await again.ask(PUBLIC, { authorization: undefined })).status, 401);
  assert.equal((await again.ask(PUBLIC)).status, 200);
  assert.equal(await mayPush(again, basic('ada', 'password of ada')), false);
  assert.equal(await mayPush(again, robot), false);
  assert.equal(await node.renew(again), 'NOT_A_MEMBER');
  await node.pollKeys(again);
  assert.throws(() => node.verify(node.certificate), { code: 'UNKNOWN_KEY' });
  await again.api('PATCH', '/accounts/ada', { disabled: false });
  assert.ok(await mayPush(again, basic('ada', 'password of ada')), 'and gives them back');
  assert.notEqual((await node.enrol(again)).serial, 1);
});

test('what was ended since the backup stays ended with the rights of a newer one', async (t) => {
  const { hub, digest, robot, at } = await populated(t);
  const [node, revoked] = [new FleetNode('node'), new FleetNode('revoked')];
  for (const one of [node, revoked]) await one.enrol(hub);
  const bad = Buffer.from('a leaked secret');
  const leaked = await hub.pushImage('leaked', [bad]);
  await backup(hub, at('backup'));
  await hub.api('DELETE', '/accounts/bob');
  await hub.api('PATCH', '/accounts/ada', { password: 'another password' });
  await hub.api('PATCH', '/projects/team/robots/ci', { disabled: true });
  await hub.api('DELETE', '/nodes/revoked');
  for (const one of [digestOf(bad), leaked.digest]) {
    await hub.api('POST', '/purges', { digest: one });
  }
  await hub.ask(`/v2/team/app/manifests/${digest}`, { method: 'DELETE' });
  await backup(hub, at('newer'), { catalogOnly: true });
  const ring = path.join(hub.folder, 'keys', 'key-ring.pem');
  const keyRing = await readFile(ring, 'utf8');
  await restore(at('backup'), at('data'), { rightsFrom: at('newer'), keyRing });
  assert.deepEqual((await check(at('data'))).counts, {});
  await using again = await TestHub.start({}, { folder: at('data') });
  assert.equal((await again.ask(PUBLIC, { authorization: undefined })).status, 200);
  assert.equal(await mayPush(again, basic('bob', 'password of bob')), false);
  assert.equal(await mayPush(again, basic('ada', 'password of ada')), false);
  assert.ok(await mayPush(again, basic('ada', 'another password')));
  assert.equal(await mayPush(again, robot), false);
  assert.deepEqual([await node.renew(again), await revoked.renew(again)], ['', 'REVOKED']);
  assert.equal((await again.ask('/v2/team/app/manifests/leaked')).status, 404);
  await assert.rejects(again.push(bad));
});

test('what is named as taken down does not come back', async (t) => {
  const { hub, keyRing, at } = await populated(t);
  await backup(hub, at('backup'));
  const digest = digestOf(LAYER);
  await restore(at('backup'), at('data'), { policy: 'kept', keyRing, purged: [digest] });
  await using again = await TestHub.start({}, { folder: at('data') });
  assert.equal((await again.ask(`/v2/team/app/blobs/${digest}`)).status, 404);
  await assert.rejects(again.push(LAYER));
  const { json } = await again.api('GET', '/purges');
  assert.deepEqual(json['purged'], [digest]);
});

test('a backup without its keys is restored with them, or begins a fleet', async (t) => {
  const { hub, at } = await populated(t);
  const node = new FleetNode('node');
  await node.enrol(hub);
  await backup(hub, at('backup'));
  await assert.rejects(restore(at('backup'), at('none')), { code: 'KEYS_MISSING' });
  await using stranger = await TestHub.start();
  const other = await readFile(path.join(stranger.folder, 'keys', 'key-ring.pem'), 'utf8');
  await assert.rejects(restore(at('backup'), at('other'), { keyRing: other }), {
    code: 'KEYS_OTHER',
  });
  await restore(at('backup'), at('anew'), { newKeys: true, policy: 'kept' });
  await using anew = await TestHub.start({}, { folder: at('anew') });
  assert.equal((await anew.ask(PUBLIC)).status, 200);
  assert.equal(await node.renew(anew), 'NOT_A_MEMBER');
  await assert.rejects(node.pollKeys(anew));
  assert.ok((await new FleetNode('node').enrol(anew)).serial > 1);
  const keys = path.join(at('anew'), 'keys');
  assert.equal((await stat(keys)).mode & 0o077, 0);
  assert.equal((await stat(path.join(keys, 'key-ring.pem'))).mode & 0o077, 0);
  await anew.hub.close();
  const again = restore(at('backup'), at('anew'), { newKeys: true, replace: true });
  await assert.rejects(again, { code: 'TARGET_NOT_EMPTY', message: /there are keys in/ });
});

test('keys that are in the catalog come back with the key they are encrypted under', async (t) => {
  const folder = await scratch(t);
  const at = (name: string): string => path.join(folder, name);
  await writeFile(at('sealing-key'), 'ab'.repeat(32), { mode: 0o600 });
  const sections = { fleet: { keys: { encryptionKeyFile: at('sealing-key') } } };
  await using hub = await TestHub.start(sections);
  const node = new FleetNode('node');
  await node.enrol(hub);
  await backup(hub, at('backup'));
  await assert.rejects(restore(at('backup'), at('none')), { code: 'KEYS_MISSING' });
  const { keys } = await restore(at('backup'), at('data'), { policy: 'kept', sections });
  assert.equal(keys, 'catalog');
  await assert.rejects(stat(path.join(at('data'), 'keys', 'key-ring.pem')), { code: 'ENOENT' });
  await using again = await TestHub.start(sections, { folder: at('data') });
  await node.pollKeys(again);
  assert.equal(await node.renew(again), '');
  await restore(at('backup'), at('locked'), { sections });
  await using locked = await TestHub.start(sections, { folder: at('locked') });
  assert.equal(await node.renew(locked), 'NOT_A_MEMBER');
  await node.pollKeys(locked);
  assert.throws(() => node.verify(node.certificate), { code: 'UNKNOWN_KEY' });
  await restore(at('backup'), at('anew'), { policy: 'kept', newKeys: true, sections });
  await assert.rejects(stat(path.join(at('anew'), 'keys', 'key-ring.pem')), { code: 'ENOENT' });
  await using anew = await TestHub.start(sections, { folder: at('anew') });
  assert.ok((await new FleetNode('node').enrol(anew)).serial > 1);
});
