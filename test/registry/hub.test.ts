import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { connect } from 'node:tls';
import { digestOf } from '../../proto/oci/digest.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { TestHub } from './test-hub.ts';

const MIB = 1024 * 1024;

async function certificate(folder: string, name: string): Promise<void> {
  const what = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'.split(' ');
  const files = ['-keyout', path.join(folder, 'new.key'), '-out', path.join(folder, 'new.crt')];
  const made = spawnSync('openssl', [...what, '-subj', `/CN=${name}`, ...files]);
  assert.equal(made.status, 0, String(made.stderr));
  // As Kubernetes and ACME clients do it: the files are replaced, not written over.
  await rename(path.join(folder, 'new.key'), path.join(folder, 'tls.key'));
  await rename(path.join(folder, 'new.crt'), path.join(folder, 'tls.crt'));
}

async function nameShownAt(url: string): Promise<string | undefined> {
  const { hostname: host, port } = new URL(url);
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

test('TLS, and a new certificate without a restart', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-tls-'));
  await certificate(folder, 'first');
  const tls = { certFile: path.join(folder, 'tls.crt'), keyFile: path.join(folder, 'tls.key') };
  await using hub = await TestHub.start({ tls });
  assert.match(hub.url, /^https:/);
  const bytes = randomBytes(2 * MIB);
  const digest = await hub.push(bytes);
  assert.equal(await nameShownAt(hub.url), 'first');
  const challenge = (await hub.ask('/v2/', { authorization: undefined })).headers;
  assert.match(String(challenge['www-authenticate']), /realm="https:/);
  await certificate(folder, 'second');
  // oxlint-disable-next-line no-await-in-loop -- one look after the other
  while ((await nameShownAt(hub.url)) !== 'second');
  assert.ok((await hub.ask(`/v2/team/app/blobs/${digest}`)).body.equals(bytes));
  await rm(folder, { recursive: true });
});

test('what was pushed is there after a restart', async () => {
  const layer = randomBytes(5 * MIB);
  const first = await TestHub.start({}, { keep: true });
  const { folder } = first;
  const { digest, bytes } = await first.pushImage('v1', [layer]);
  await first[Symbol.asyncDispose]();
  await using second = await TestHub.start({}, { folder });
  const manifest = await second.ask('/v2/team/app/manifests/v1');
  assert.ok(manifest.body.equals(bytes));
  assert.equal(manifest.headers['docker-content-digest'], digest);
  const blob = await second.ask(`/v2/team/app/blobs/${digestOf(layer)}`);
  assert.ok(blob.body.equals(layer));
  const statement = `/v2/team/app/_flotilla/chunks/statement/${digestOf(layer)}`;
  assert.equal((await second.ask(statement)).status, 200);
});

test('a second hub on the same folder is refused, and the first one goes on', async () => {
  await using hub = await TestHub.start();
  const location = await hub.open();
  await hub.ask(location, { method: 'PATCH', body: randomBytes(1_000) });
  await assert.rejects(TestHub.start({}, { folder: hub.folder, keep: true }), (err: unknown) =>
    hasCode(err, 'FOLDER_IN_USE'),
  );
  assert.equal((await hub.ask(location)).headers['range'], '0-999');
});

test('a hub is ready while it can take a push, and says what is wrong when not', async () => {
  await using hub = await TestHub.start();
  const ready = () => hub.ask(`${hub.opsUrl}/readyz`, { authorization: undefined });
  assert.equal((await ready()).status, 200);
  const uploads = path.join(hub.folder, 'registry', 'uploads');
  await rename(uploads, `${uploads}-away`);
  const broken = await ready();
  assert.equal(broken.status, 503);
  assert.match(broken.body.toString(), /blobs/);
  await rename(`${uploads}-away`, uploads);
  assert.equal((await ready()).status, 200);
});

test('a draining hub ends what runs and takes nothing new', async () => {
  await using hub = await TestHub.start();
  const hold = Promise.withResolvers<void>();
  const bytes = randomBytes(1_000);
  const location = await hub.open();
  const running = hub.ask(`${location}?digest=${digestOf(bytes)}`, {
    method: 'PUT',
    body: (async function* () {
      yield bytes.subarray(0, 10);
      await hold.promise;
      yield bytes.subarray(10);
    })(),
  });
  // oxlint-disable-next-line no-await-in-loop -- one look after the other
  while ((await hub.metric('requests_in_flight')) === 0);
  const drained = hub.hub.drain(AbortSignal.timeout(20_000));
  assert.equal((await hub.ask(`${hub.opsUrl}/readyz`)).status, 503);
  await assert.rejects(hub.ask('/v2/'), (err: unknown) => hasCode(err, 'ECONNREFUSED'));
  hold.resolve();
  assert.equal((await running).status, 201);
  await drained;
});
