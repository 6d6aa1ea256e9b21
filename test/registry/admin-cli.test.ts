import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readPassword } from '../../bin/admin.ts';
import { purge } from '../../bin/purge.ts';
import { EXIT } from '../../proto/ops/exit-codes.ts';
import { commandAt, type Outcome } from '../rig/command-line.ts';
import { ADMIN, BASIC, TestHub } from './test-hub.ts';

let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
});
after(() => hub[Symbol.asyncDispose]());

function flotilla(...words: string[]): Promise<Outcome> {
  const parts = { purge, readPassword, newPassword: () => 'a made password' };
  return commandAt({ url: hub.url, password: ADMIN.password }, words, parts);
}

async function done(...words: string[]): Promise<string> {
  const { code, out, err } = await flotilla(...words);
  assert.deepEqual({ code, err }, { code: EXIT.ok, err: '' }, words.join(' '));
  return out;
}

async function logsIn(user: string, password: string): Promise<boolean> {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  return (await hub.ask('/v2/', { authorization })).status === 200;
}

test('a project, an account in it and their end', async () => {
  assert.match(await done('project', 'create', 'team', '--private'), /^visibility: private$/m);
  assert.match(await done('account', 'create', 'ada'), /^password: a made password$/m);
  assert.ok(await logsIn('ada', 'a made password'));
  await done('member', 'add', 'team', 'ada', '--role', 'developer');
  assert.equal(await done('member', 'list', 'team'), 'ada\tdeveloper\n');
  assert.match(await done('project', 'list'), /^team\tprivate\t/m);
  assert.match(await done('project', 'publish', 'team'), /^visibility: public$/m);
  await done('account', 'disable', 'ada');
  assert.equal(await logsIn('ada', 'a made password'), false);
  await done('member', 'remove', 'team', 'ada');
  await done('account', 'delete', 'ada');
  assert.equal(await done('account', 'list'), '');
  await done('project', 'delete', 'team');
});

test('a robot is made with what it may do, and its secret is printed once', async () => {
  await done('project', 'create', 'ci');
  const made: { login: string; secret: string } = JSON.parse(
    await done('robot', 'create', 'ci', 'bot', '--allow', 'ci/app=pull,push', '--json'),
  );
  assert.equal(made.login, 'robot$ci+bot');
  assert.ok(await logsIn(made.login, made.secret));
  const list = await done('robot', 'list', 'ci');
  assert.match(list, /"repository":"ci\/app","actions":\["pull","push"\]/);
  assert.ok(!list.includes(made.secret));
  await done('robot', 'refresh', 'ci', 'bot');
  assert.equal(await logsIn(made.login, made.secret), false);
});

test('nodes are listed, keys replaced', async () => {
  assert.equal(await done('node', 'list'), '');
  assert.equal(await done('keys', 'rotate'), 'rotated: true\n');
  assert.equal((await hub.ask('/v2/', { authorization: BASIC })).status, 200);
});

test('content is taken down, and may be pushed again', async () => {
  const strange = `sha256:${'a'.repeat(64)}`;
  const refused = `${strange}: the hub did not have it; it is refused from now on\n`;
  assert.equal(await done('purge', strange), refused);
  const digest = await hub.push(Buffer.from('must not be served'));
  assert.equal(await done('purge', digest), `${digest}: taken down\n`);
  assert.equal(await done('purge', digest, '--lift'), `${digest}: may be pushed again\n`);
  const again = await flotilla('purge', `sha512:${'b'.repeat(128)}`, '--lift');
  assert.match(again.err, /is not taken down/);
});

test('what the hub refuses is said, with the code of a failure', async () => {
  const unknown = await flotilla('project', 'publish', 'nothing');
  assert.equal(unknown.code, EXIT.failure);
  assert.match(unknown.err, /no project nothing/);
  const node = await flotilla('node', 'revoke', '../accounts/ada');
  assert.match(node.err, /no member \.\.\/accounts\/ada/, 'a name is never a path');
});

test('what is not understood is said with the page that helps', async () => {
  const wrong: [string[], RegExp][] = [
    [['project'], /needs a command/],
    [['project', 'crate', 'x'], /did you mean create/],
    [['project', 'create'], /takes NAME/],
    [['project', 'create', 'a', 'b'], /takes NAME/],
    [['project', 'create', 'a', '--role', 'guest'], /takes no --role/],
    [['member', 'add', 'p', 'a', '--role', 'king'], /--role takes guest/],
    [['robot', 'create', 'p', 'r', '--allow', 'p=fly'], /--allow takes/],
    [['robot', 'create', 'p', 'r', '--expires', 'soon'], /--expires takes/],
    [['projekt'], /did you mean project/],
  ];
  for (const [words, message] of wrong) {
    const { code, err } = await flotilla(...words);
    assert.equal(code, EXIT.usage, words.join(' '));
    assert.match(err, message);
    assert.match(err, /usage: flotilla/);
  }
  for (const word of ['project', 'account', 'member', 'robot', 'node', 'keys']) {
    const page = await done(word, '--help');
    assert.match(page, new RegExp(`^usage: flotilla ${word} COMMAND`));
    for (const line of page.split('\n')) assert.ok(line.length <= 100, line);
  }
});
