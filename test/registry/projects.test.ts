import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { assertRefused, BASIC, TestHub } from './test-hub.ts';

let hub: TestHub;
let layer: string;
let secret: string;

before(async () => {
  hub = await TestHub.start();
  const bytes = randomBytes(1000);
  await hub.pushImage('v1', [randomBytes(10)], {}, 'open/app');
  await hub.api('POST', '/projects', { name: 'own', visibility: 'private' });
  layer = await hub.push(bytes, 'own/app');
  secret = (await hub.pushImage('v1', [bytes], {}, 'own/app')).digest;
  for (const [name, role] of [
    ['ada', 'developer'],
    ['gus', 'guest'],
    ['eve', undefined],
  ] as const) {
    await hub.api('POST', '/accounts', { name, password: `${name}-password` });
    if (role !== undefined) await hub.api('PUT', `/projects/own/members/${name}`, { role });
  }
});
after(() => hub[Symbol.asyncDispose]());

const as = (name: string) => `Basic ${Buffer.from(`${name}:${name}-password`).toString('base64')}`;
const READS = ['manifests/v1', 'tags/list', 'blobs/'] as const;

async function token(authorization: string | undefined, ...scopes: string[]): Promise<string> {
  const query = new URLSearchParams({ service: 'flotilla' });
  for (const scope of scopes) query.append('scope', scope);
  const answer = await hub.ask(`/api/token?${query.toString()}`, { authorization });
  assert.equal(answer.status, 200, answer.body.toString());
  const { access_token: own }: { access_token: string } = JSON.parse(answer.body.toString());
  return `Bearer ${own}`;
}

function pathsOf(repository: string): string[] {
  return READS.map((read) => `/v2/${repository}/${read === 'blobs/' ? `${read}${layer}` : read}`);
}

test('members read what is private, others cannot tell whether it is there', async () => {
  const nobody = [undefined, await token(undefined, 'repository:own/app:pull')];
  const bearer = await token(as('eve'), 'repository:own/app:pull,push');
  for (const [index, path] of pathsOf('own/app').entries()) {
    for (const authorization of [BASIC, as('ada'), as('gus')]) {
      assert.equal((await hub.ask(path, { authorization })).status, 200, path);
    }
    const absent = pathsOf('none/app')[index] ?? '';
    const missing = pathsOf('own/none')[index] ?? '';
    for (const authorization of [...nobody, bearer]) {
      for (const asked of [path, absent, missing]) {
        assertRefused(await hub.ask(asked, { authorization }), 401, 'UNAUTHORIZED');
      }
    }
    const answers = await Promise.all(
      [path, absent, missing].map((asked) => hub.ask(asked, { authorization: as('eve') })),
    );
    for (const answer of answers) {
      assertRefused(answer, 404, 'NAME_UNKNOWN');
      assert.equal(answer.body.toString(), answers[0]?.body.toString());
    }
  }
});

test('who may read and no more is told so', async () => {
  const start = '/v2/own/app/blobs/uploads/';
  const push = (authorization: string) => hub.ask(start, { method: 'POST', authorization });
  assertRefused(await push(as('gus')), 403, 'DENIED');
  assert.equal((await push(as('ada'))).status, 202);
  assertRefused(await push(as('eve')), 404, 'NAME_UNKNOWN');
  const target = '/v2/own/app/manifests/v1';
  const remove = { method: 'DELETE', authorization: as('ada') } as const;
  assertRefused(await hub.ask(target, remove), 403, 'DENIED');
  const wide = await token(as('ada'), 'repository:own/app:pull,push,delete');
  const removal = await hub.ask(target, { method: 'DELETE', authorization: wide });
  assertRefused(removal, 401, 'UNAUTHORIZED');
  assert.match(String(removal.headers['www-authenticate']), /error="insufficient_scope"/);
});

test('nobody but the admin makes a project by a push', async () => {
  const start = { method: 'POST', authorization: as('ada') } as const;
  assertRefused(await hub.ask('/v2/fresh/app/blobs/uploads/', start), 404, 'NAME_UNKNOWN');
  const bearer = await token(BASIC, 'repository:fresh/app:pull,push');
  const remove = await hub.ask(`/v2/fresh/app/blobs/${layer}`, { method: 'DELETE' });
  assert.equal(remove.status, 404);
  assert.equal((await hub.api('GET', '/projects/fresh')).status, 404, 'nor does a DELETE');
  const first = await hub.ask('/v2/fresh/app/blobs/uploads/', {
    method: 'POST',
    authorization: bearer,
  });
  assert.equal(first.status, 202);
  assert.equal((await hub.api('GET', '/projects/fresh')).json['visibility'], 'public');
});

test('a blob is mounted from where one may read, from elsewhere as if it were not', async () => {
  await hub.api('PUT', '/projects/open/members/ada', { role: 'developer' });
  await hub.api('PUT', '/projects/open/members/eve', { role: 'developer' });
  const mount = `/v2/open/copy/blobs/uploads/?mount=${layer}&from=own/app`;
  const scopes = ['repository:open/copy:pull,push', 'repository:own/app:pull'];
  const narrow = await token(as('ada'), scopes[0] ?? '');
  for (const authorization of [as('eve'), await token(as('eve'), ...scopes), narrow]) {
    assert.equal((await hub.ask(mount, { method: 'POST', authorization })).status, 202);
    const here = await hub.ask(`/v2/open/copy/blobs/${layer}`);
    assert.equal(here.status, 404);
  }
  const wide = await token(as('ada'), ...scopes);
  assert.equal((await hub.ask(mount, { method: 'POST', authorization: wide })).status, 201);
});

test('the list of repositories names what one may read', async () => {
  const list = async (authorization: string | undefined, query = ''): Promise<string[]> => {
    const answer = await hub.ask(`/v2/_catalog${query}`, { authorization });
    const { repositories }: { repositories: string[] } = JSON.parse(answer.body.toString());
    return repositories;
  };
  for (const name of ['own-2/x', 'own/zz', 'p/x']) await hub.push(Buffer.from(name), name);
  await hub.api('PATCH', '/projects/own-2', { visibility: 'private' });
  const all = await list(BASIC);
  assert.ok(['own/app', 'own/zz', 'own-2/x', 'open/app', 'p/x'].every((one) => all.includes(one)));
  const open = all.filter((name) => !name.startsWith('own'));
  assert.deepEqual(await list(undefined), open);
  assert.deepEqual(await list(as('eve')), open);
  const adas = all.filter((name) => !name.startsWith('own-2'));
  assert.deepEqual(await list(as('ada')), adas);
  assert.deepEqual(await list(await token(as('ada'), 'registry:catalog:*')), adas);
  assert.deepEqual(
    await list(await token(as('ada'), 'repository:own/app:pull')),
    [...new Set([...open, 'own/app'])].sort(),
  );
  assert.deepEqual(await list(undefined, '?n=1&last=own'), ['p/x']);
});

test('the list names what a robot may read, though it may not read what comes before', async () => {
  await hub.api('POST', '/projects', { name: 'part', visibility: 'private' });
  for (const name of ['part/a', 'part/b', 'part/c']) await hub.push(Buffer.from(name), name);
  const permissions = [{ repository: 'part/b', actions: ['pull'] }];
  const made = await hub.api('POST', '/projects/part/robots', { name: 'bee', permissions });
  const { login, secret: own } = made.json;
  const pair = Buffer.from(`${String(login)}:${String(own)}`).toString('base64');
  const authorization = `Basic ${pair}`;
  const ways = [authorization, await token(authorization, 'repository:part/b:pull')];
  for (const way of ways) {
    const answer = await hub.ask('/v2/_catalog?n=1000', { authorization: way });
    const { repositories }: { repositories: string[] } = JSON.parse(answer.body.toString());
    assert.deepEqual(
      repositories.filter((one) => one.startsWith('part/')),
      ['part/b'],
    );
  }
});

test('a project made private is private at once, for tokens from before too', async () => {
  await hub.push(Buffer.from('x'), 'turn/app');
  const bearer = await token(undefined, 'repository:turn/app:pull');
  const path = '/v2/turn/app/tags/list';
  assert.equal((await hub.ask(path, { authorization: bearer })).status, 200);
  await hub.api('PATCH', '/projects/turn', { visibility: 'private' });
  for (const authorization of [bearer, undefined]) {
    assertRefused(await hub.ask(path, { authorization }), 401, 'UNAUTHORIZED');
  }
  assert.ok(secret.startsWith('sha256:'));
});
