import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { createJoinToken } from '../../bin/join-token.ts';
import { ADMIN, TestHub } from './test-hub.ts';

const WISH = { uses: 3, expires: '1h', url: undefined };
const NEW_KEY = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';

let folder = '';
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'flotilla-join-token-'));
  openssl(`req -x509 -days 2 ${NEW_KEY} -subj /CN=ca -keyout ca.key -out ca.crt`);
});
after(() => rmSync(folder, { recursive: true }));

function openssl(line: string): void {
  execFileSync('openssl', line.split(' '), { cwd: folder, stdio: 'pipe' });
}

/** A certificate for a host nobody resolves, signed by an authority nobody knows. */
function pair(name: string): { certFile: string; keyFile: string } {
  openssl(`req ${NEW_KEY} -subj /CN=hub.example -keyout ${name}.key -out ${name}.csr`);
  openssl(`x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -days 2 -out ${name}.crt`);
  const file = (end: string): string => path.join(folder, `${name}.${end}`);
  return { certFile: file('crt'), keyFile: file('key') };
}

function configOf(hub: TestHub, sections: object): { text: string } {
  const http = { listen: [new URL(hub.url).host] };
  return { text: JSON.stringify({ http, hub: { dataDir: hub.folder }, ...sections }) };
}

test('the operator of a hub gets a token, whatever its certificate says', async () => {
  const tls = pair('own');
  await using hub = await TestHub.start({ tls });
  const access = { adminPassword: ADMIN.password };
  const token = await createJoinToken({ ...WISH, ...configOf(hub, { tls, access }) }, {});
  assert.match(token, /^flotilla-join\.v1\./);
  const wrong = { ...WISH, ...configOf(hub, { tls: pair('other'), access }) };
  await assert.rejects(createJoinToken(wrong, {}), { code: 'HUB_UNREACHABLE' });
});

test('the password is read as the hub reads it, and missing it is said with its key', async () => {
  const adminPasswordFile = path.join(folder, 'password');
  writeFileSync(adminPasswordFile, ' with space \n');
  const access = { adminPasswordFile };
  await using hub = await TestHub.start({ access });
  const config = { ...WISH, ...configOf(hub, { access }) };
  assert.match(await createJoinToken(config, {}), /^flotilla-join/);
  rmSync(adminPasswordFile);
  const message = /access\.adminPasswordFile: cannot be read: ENOENT/;
  await assert.rejects(createJoinToken(config, {}), { code: 'CONFIG_INVALID', message });
});

test('a token lives as long as the configuration says, unless the operator says it', async () => {
  const asked: unknown[] = [];
  const record = async (request: IncomingMessage): Promise<void> => {
    asked.push(JSON.parse(await textOf(request)));
  };
  const server = createServer((request, response) => {
    void record(request).then(() => response.writeHead(201).end('{"token":"t"}'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const sections = { fleet: { joinTokenLife: '90m' }, access: { adminPassword: 'x' } };
  const config = { uses: 1, text: JSON.stringify(sections), url: `http://127.0.0.1:${port}` };
  try {
    await createJoinToken({ ...config, expires: undefined }, {});
    await createJoinToken({ ...config, expires: '2m' }, {});
  } finally {
    server.close();
    server.closeAllConnections();
  }
  assert.deepEqual(asked, [
    { uses: 1, expiresInMs: 5_400_000 },
    { uses: 1, expiresInMs: 120_000 },
  ]);
});
