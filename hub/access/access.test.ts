import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createLogger } from '../../proto/ops/logger.ts';
import { generateSigningKey, rawPublicKey } from '../../proto/trust/keys.ts';
import { openAccess, type Access } from './access.ts';
import { PASSWORD_FILE } from './admin-password.ts';
import { TOKEN_LIFE_S, WRONG_PASSWORD_LOG_MS } from './constants.ts';
import type { AccessConfig } from './options.ts';
import { parseScope } from './scope.ts';

const logger = createLogger({ level: 'silent', name: 'test' });
const tokenKey = generateSigningKey('token');
const OPTIONS = { adminUsername: 'admin', adminPassword: 'pass:word' };
const PUSH = 'repository:team/app:pull,push';

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-access-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

function open(fields: { options?: AccessConfig; dataDir?: string; now?: () => number } = {}) {
  const { options = OPTIONS, dataDir = '/nowhere', now = Date.now } = fields;
  return openAccess(options, { dataDir, tokenKey, logger, now });
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

function head(fields: object): string {
  return Buffer.from(JSON.stringify(fields)).toString('base64url');
}

async function bearerOf(
  access: Access,
  identity: Parameters<Access['issueToken']>[0],
  scope: string,
) {
  const { token } = await access.issueToken(identity, [scope], 'flotilla');
  return access.identify(`Bearer ${token}`);
}

test('no header and empty Basic credentials are anonymous, and may pull only', async () => {
  const access = await open();
  for (const header of [undefined, '', 'Basic Og==', 'basic Og==']) {
    // oxlint-disable-next-line no-await-in-loop -- one header after the other
    const identity = await access.identify(header);
    assert.deepEqual(identity, { kind: 'anonymous' });
    assert.equal(access.mayPull(identity, 'team/app'), true);
    assert.equal(access.mayPush(identity, 'team/app'), false);
  }
});

test('the admin is known by name and password, nobody else', async () => {
  const access = await open();
  const identity = await access.identify(basic('admin', 'pass:word'));
  assert.deepEqual(identity, { kind: 'admin' });
  assert.equal(access.mayPush(identity, 'any/thing'), true);
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
    // oxlint-disable-next-line no-await-in-loop -- one header after the other
    await assert.rejects(access.identify(header), { code: 'BAD_CREDENTIALS' }, header);
  }
});

test('a token of the admin pushes to its repository and to no other', async () => {
  const access = await open();
  const bearer = await bearerOf(access, { kind: 'admin' }, PUSH);
  assert.deepEqual(bearer, {
    kind: 'bearer',
    subject: 'admin',
    access: [{ name: 'team/app', actions: ['pull', 'push'] }],
  });
  assert.equal(access.mayPush(bearer, 'team/app'), true);
  assert.equal(access.mayPush(bearer, 'team/app2'), false);
  const puller = await bearerOf(access, { kind: 'admin' }, 'repository:team/app:pull');
  assert.equal(access.mayPush(puller, 'team/app'), false);
});

test('anonymous and bearers get tokens to pull, whatever they ask', async () => {
  const access = await open();
  const issued = await access.issueToken({ kind: 'anonymous' }, [PUSH, 'nonsense'], '');
  assert.equal(issued.scope, 'repository:team/app:pull');
  assert.equal(issued.expiresIn, TOKEN_LIFE_S);
  const anonymous = await bearerOf(access, { kind: 'anonymous' }, PUSH);
  assert.equal(access.mayPush(anonymous, 'team/app'), false);
  const pusher = await bearerOf(access, { kind: 'admin' }, PUSH);
  const renewed = await bearerOf(access, pusher, PUSH);
  assert.equal(access.mayPush(renewed, 'team/app'), false);
});

test('a token ends, and is for this hub, this key and this algorithm only', async () => {
  let now = 1_700_000_000_000;
  const access = await open({ now: () => now });
  const { token, issuedAt } = await access.issueToken({ kind: 'admin' }, [PUSH], 'flotilla');
  assert.equal(issuedAt, new Date(now).toISOString());
  const elsewhere = await access.issueToken({ kind: 'admin' }, [PUSH], 'other.example');
  const otherKey = await openAccess(OPTIONS, {
    dataDir: '/nowhere',
    tokenKey: { ...generateSigningKey('token'), keyId: tokenKey.keyId },
    logger,
    now: () => now,
  });
  const stranger = await otherKey.issueToken({ kind: 'admin' }, [PUSH], 'flotilla');
  const [, payload = '', signature = ''] = token.split('.');
  const kid = tokenKey.keyId.toString('hex');
  const symmetric = `${head({ alg: 'HS256', kid })}.${payload}`;
  const mac = createHmac('sha256', rawPublicKey(tokenKey.publicKey)).update(symmetric);
  const forged = [
    elsewhere.token,
    stranger.token,
    `${head({ alg: 'none', kid })}.${payload}.`,
    `${symmetric}.${mac.digest('base64url')}`,
    `${head({ alg: 'EdDSA' })}.${payload}.${signature}`,
    token.slice(0, -8),
  ];
  for (const text of forged) {
    // oxlint-disable-next-line no-await-in-loop -- one token after the other
    await assert.rejects(access.identify(`Bearer ${text}`), { code: 'BAD_CREDENTIALS' }, text);
  }
  now += (TOKEN_LIFE_S - 1) * 1000;
  assert.equal((await access.identify(`Bearer ${token}`)).kind, 'bearer');
  now += 1000;
  await assert.rejects(access.identify(`Bearer ${token}`), { code: 'BAD_CREDENTIALS' });
});

test('a scope is split at its first and last colon', () => {
  const all = ['pull', 'push', 'delete'];
  assert.deepEqual(parseScope('repository:a/b:*'), { name: 'a/b', actions: all });
  assert.deepEqual(parseScope('repository:a:push,pull,fly'), {
    name: 'a',
    actions: ['pull', 'push'],
  });
  const bad = ['', 'repository', 'repository:a', 'repository::pull', 'registry:catalog:*'];
  for (const text of [...bad, 'repository:a:', 'repository:A:pull', 'repository:h:5000/a:pull']) {
    assert.equal(parseScope(text), undefined, text);
  }
});

test('a password is made once, for the owner of the folder only', async (t) => {
  const dataDir = await folderOf(t);
  const options = { adminUsername: 'root' };
  const [access, other] = await Promise.all([
    open({ options, dataDir }),
    open({ options, dataDir }),
  ]);
  const file = join(dataDir, PASSWORD_FILE);
  const password = (await readFile(file, 'utf8')).trim();
  assert.ok(password.length >= 32);
  assert.equal((await stat(file)).mode % 0o1000, 0o600);
  const third = await open({ options, dataDir });
  for (const each of [access, other, third]) assert.ok(each.verifyAdmin('root', password));
});

test('a password file is read without its line end; an empty one is refused', async (t) => {
  const dataDir = await folderOf(t);
  const adminPasswordFile = join(dataDir, 'secret');
  const options = { adminUsername: 'admin', adminPasswordFile };
  await writeFile(adminPasswordFile, ' s3cret \r\n');
  assert.ok((await open({ options, dataDir })).verifyAdmin('admin', ' s3cret '));
  const both = open({ options: { ...options, adminPassword: 'x' }, dataDir });
  await assert.rejects(both, { code: 'PASSWORD_TWICE' });
  await writeFile(adminPasswordFile, '\n');
  await assert.rejects(open({ options, dataDir }), { code: 'PASSWORD_EMPTY' });
});

test('whoever guesses the password is noticed, in few lines and without the guesses', async () => {
  const lines: string[] = [];
  const clock = { nowMs: 1_000_000 };
  const access = await openAccess(OPTIONS, {
    dataDir: '/nowhere',
    tokenKey,
    logger: createLogger({ level: 'warn', name: 'test' }, { write: (line) => lines.push(line) }),
    now: () => clock.nowMs,
  });
  const guess = (): Promise<void> =>
    assert.rejects(access.identify(basic('admin', 'guess')), { code: 'BAD_CREDENTIALS' });
  await Promise.all(Array.from({ length: 100 }, guess));
  assert.equal(lines.length, 1);
  clock.nowMs += WRONG_PASSWORD_LOG_MS;
  await guess();
  assert.equal(lines.length, 2);
  assert.match(lines[1] ?? '', /"attempts":100/);
  assert.ok(!lines.join().includes('guess'));
});
