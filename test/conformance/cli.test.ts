import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { attempt } from '../rig/processes.ts';

const MAIN = path.join(import.meta.dirname, 'main.ts');
const CREDENTIALS = ['--username', ADMIN.username, '--password', ADMIN.password];

function run(...args: string[]) {
  return attempt([process.execPath, MAIN, ...args]);
}

/** A server that answers everything with this status. */
async function serve(t: TestContext, statusOf: (path: string) => number): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(statusOf(request.url ?? '')).end();
  });
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

test('each check is a line with its section, the last line has the totals', async (t) => {
  await using hub = await TestHub.start();
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-conformance-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const json = path.join(folder, 'results.json');
  const args = ['--spec', 'dev', '--only', 'uploads/', '--json', json, '--repository', 'a/b'];
  const { code, stdout, stderr } = await run(hub.url, ...CREDENTIALS, ...args);
  assert.equal(stderr, '');
  assert.equal(code, 0);
  const lines = stdout.trim().split('\n');
  assert.match(lines[0] ?? '', /^pass uploads\/status \[Pushing a blob in chunks; MUST\]$/);
  assert.equal(lines.at(-1), `${lines.length - 1} passed, 0 failed, 0 skipped`);
  const report: { passed: number; checks: object[] } = JSON.parse(await readFile(json, 'utf8'));
  assert.equal(report.passed, lines.length - 1);
  assert.equal(report.checks.length, report.passed);
  const pushed = await hub.ask('/v2/a/b-other/tags/list');
  assert.equal(pushed.status, 404, 'only the repository that was named is used');
});

test('a registry that breaks rules makes the exit code 1', async (t) => {
  const url = await serve(t, (asked) => (asked === '/v2/' ? 200 : 404));
  const { code, stdout } = await run(url, '--only', 'uploads/', '--failed');
  assert.equal(code, 1);
  assert.match(stdout, /^FAIL uploads\/status .*404; expected 202$/m);
  assert.match(stdout, /\n0 passed, \d+ failed, 0 skipped\n$/);
});

test('what keeps the suite from running is told in one line, with exit code 2', async (t) => {
  await using hub = await TestHub.start();
  const nothing = await serve(t, () => 404);
  const cases: [args: string[], message: RegExp][] = [
    [[], /the URL of the registry is missing/],
    [['registry.example.com'], /"registry\.example\.com" is no URL of a registry/],
    [['https://a.example/path'], /a registry has no path/],
    [['https://u:p@a.example'], /--username/],
    [['https://a.example', '--spec', '2'], /--spec takes 1\.1 or dev/],
    [['https://a.example', '--username', 'me'], /--username needs --password/],
    [['https://a.example', '--repository', 'Bad'], /"Bad" is no name/],
    [['https://a.example', '--colour'], /--colour/],
    [[hub.url, ...CREDENTIALS, '--only', 'none'], /no check begins with "none"/],
    [['http://127.0.0.1:1'], /127\.0\.0\.1:1.*ECONNREFUSED/],
    [[nothing], /answered 404; an OCI registry answers 200/],
    [[hub.url], /give --username and --password/],
    [[hub.url, '--username', 'admin', '--password', 'wrong'], /refuses this user name/],
  ];
  const results = await Promise.all(cases.map(([args]) => run(...args)));
  for (const [i, { code, stdout, stderr }] of results.entries()) {
    const [args, message] = cases[i] ?? [[], /^$/];
    assert.match(stderr, message, args.join(' '));
    assert.match(stderr, /^conformance: [^\n]+\n$/);
    assert.equal(stdout, '');
    assert.equal(code, 2);
  }
});
