import { after, before, test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
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
