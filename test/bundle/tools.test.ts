// Bundles by the command line, read by the tools of others, and killed at any moment.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, test } from 'node:test';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { makeImage, readLayout } from '../rig/images.ts';
import { attempt, run, start } from '../rig/processes.ts';
import { findProgram } from '../rig/requirements.ts';
import { Scratch } from '../rig/scratch.ts';
import { until } from '../rig/until.ts';

const MIB = 1024 * 1024;
const LARGE = 96 * MIB;
const TIMEOUT_MS = 60_000;
const LAUNCHER = path.join(import.meta.dirname, '..', '..', 'bin', 'flotilla');
const skip = findProgram('skopeo') === undefined && 'needs skopeo';
const COPY = ['skopeo', '--insecure-policy', 'copy', '--quiet'];
const scratch = Scratch.open();
after(() => scratch.close());

/** A hub, and the words by which the command line reaches it. */
async function hubWithConfig(name: string, sections: object = {}) {
  const hub = await TestHub.start();
  const config = path.join(await scratch.make(name), 'hub.yaml');
  const own = { hub: { names: ['hub.test'] }, access: { adminPassword: ADMIN.password } };
  await writeFile(config, JSON.stringify({ ...own, ...sections }));
  return { hub, words: ['--config', config, '--url', hub.url] };
}

async function flotilla(...words: string[]): Promise<string> {
  const { stdout } = await run([LAUNCHER, ...words], { env: { FLOTILLA_NODE: process.execPath } });
  return stdout;
}

test('skopeo reads a bundle, and finds in it what it has pushed', { skip }, async () => {
  const folder = await scratch.make('skopeo');
  const image = await makeImage(scratch, 'app', [3 * MIB, 20_000]);
  const { hub, words } = await hubWithConfig('skopeo-hub');
  await using _ = hub;
  const at = `docker://${new URL(hub.url).host}/team/app:v1`;
  const login = ['--dest-tls-verify=false', '--dest-creds', `${ADMIN.username}:${ADMIN.password}`];
  await run([...COPY, ...login, `oci:${image.layout}:v1`, at]);
  for (const out of ['bundle.tar', 'bundle/']) {
    const place = path.join(folder, out);
    await flotilla('bundle', 'export', '--out', place, ...words, 'team/app:v1');
    const layout = path.join(folder, `copied-${path.basename(out)}`);
    const from = out.endsWith('/') ? `oci:${place}` : `oci-archive:${place}`;
    await run([...COPY, `${from}:team/app:v1`, `oci:${layout}:v1`]);
    assert.deepEqual((await readLayout(layout)).layers, image.layers);
  }
});

test('an index of several platforms comes whole out of skopeo', { skip }, async () => {
  const folder = await scratch.make('index');
  const { hub, words } = await hubWithConfig('index-hub');
  await using _ = hub;
  const child = await hub.pushImage('child', [Buffer.from('a layer')]);
  const platform = { os: 'linux', architecture: 'arm64' };
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const entry = { mediaType, digest: child.digest, size: child.bytes.length, platform };
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [entry] };
  const bytes = Buffer.from(JSON.stringify(index));
  await hub.putManifest('v1', bytes, OCI_INDEX);
  const file = path.join(folder, 'bundle.tar');
  await flotilla('bundle', 'export', '--out', file, ...words, 'team/app:v1');
  const inspect = ['skopeo', 'inspect', '--raw', `oci-archive:${file}:team/app:v1`];
  const { stdout } = await run(inspect);
  assert.equal(digestOf(Buffer.from(stdout)), digestOf(bytes));
});

/** Deterministic, and no two MiB of it the same. */
function large(): Buffer {
  const parts = Array.from({ length: LARGE / MIB }, (_, i) => {
    const seed = createHash('sha512').update(String(i)).digest();
    return Buffer.alloc(MIB, seed);
  });
  return Buffer.concat(parts);
}

test('killed at any moment, export and import go on where they were', async () => {
  const folder = await scratch.make('killed');
  const [key, file] = [path.join(folder, 'exporter.key'), path.join(folder, 'bundle.tar')];
  await using hubs = new AsyncDisposableStack();
  const from = await hubWithConfig('killed-from');
  hubs.use(from.hub);
  const to = await hubWithConfig('killed-to', { bundles: { trustedKeys: [key] } });
  hubs.use(to.hub);
  const layer = large();
  await from.hub.pushImage('v1', [layer]);
  await writeFile(key, await flotilla('bundle', 'key', ...from.words));
  const env = { FLOTILLA_NODE: process.execPath };
  const exporting = ['bundle', 'export', '--out', file, ...from.words, 'team/app:v1'];
  const first = start([LAUNCHER, ...exporting], { name: 'export', env });
  await until('a part is written', TIMEOUT_MS, async () => {
    const { size } = await stat(`${file}.new`).catch(() => ({ size: 0 }));
    return first.exit !== undefined || size > 8 * MIB || undefined;
  });
  first.kill('SIGKILL');
  assert.equal((await first.exited).signal, 'SIGKILL', 'it was not at its end');
  const report = await attempt([LAUNCHER, ...exporting], { env });
  assert.match(report.stderr, /going on with what was begun/);
  assert.equal(report.code, 0, report.stderr);
  assert.match(await flotilla('bundle', 'verify', file, ...to.words.slice(0, 2)), /: whole, /);
  const importing = ['bundle', 'import', file, ...to.words];
  const second = start([LAUNCHER, ...importing], { name: 'import', env });
  await until('a part is sent', TIMEOUT_MS, async () => {
    const sent = await to.hub.metric('blob_received_bytes_total');
    return second.exit !== undefined || sent > 8 * MIB || undefined;
  });
  second.kill('SIGKILL');
  assert.equal((await second.exited).signal, 'SIGKILL', 'it was not at its end');
  assert.equal((await to.hub.ask('/v2/team/app/manifests/v1')).status, 404);
  const before = await to.hub.metric('blob_received_bytes_total');
  assert.match(await flotilla(...importing), /^team\/app:v1$/m);
  const sent = (await to.hub.metric('blob_received_bytes_total')) - before;
  assert.ok(sent < LARGE - 6 * MIB, `${sent} bytes sent again`);
  const pulled = await to.hub.ask(`/v2/team/app/blobs/${digestOf(layer)}`);
  assert.ok(pulled.body.equals(layer));
  assert.equal((await readFile(file)).length > LARGE, true);
});

test('without a key, an image or a file the command line says what to do', async () => {
  const folder = await scratch.make('refused');
  const { hub, words } = await hubWithConfig('refused-hub');
  await using _ = hub;
  await hub.pushImage('v1', [Buffer.from('x')]);
  const file = path.join(folder, 'bundle.tar');
  await flotilla('bundle', 'export', '--out', file, ...words, 'team/app:v1');
  const env = { FLOTILLA_NODE: process.execPath };
  for (const [given, complaint] of [
    [['import', file], /no key of an exporter is configured/],
    [['import', file, '--trust', file], /is (?:no key|too large)/],
    [['import', path.join(folder, 'none.tar'), '--trust', file], /no key/],
    [['export', '--out', file, 'team/app:v1'], /is there already/],
    [['export', '--out', `${file}2`, 'team/none:v1'], /the hub has no team\/none:v1/],
  ] as const) {
    const { code, stderr } = await attempt([LAUNCHER, 'bundle', ...given, ...words], { env });
    assert.equal(code, 1, stderr);
    assert.match(stderr, complaint);
  }
});

const noCosign = findProgram('cosign') === undefined && 'needs cosign: see test/rig/install.sh';

test('what cosign signed verifies at the hub that imports it', { skip: noCosign }, async () => {
  const folder = await scratch.make('cosign');
  await using hubs = new AsyncDisposableStack();
  const from = await hubWithConfig('cosign-from');
  hubs.use(from.hub);
  const key = path.join(folder, 'exporter.key');
  const to = await hubWithConfig('cosign-to', { bundles: { trustedKeys: [key] } });
  hubs.use(to.hub);
  const at = ({ hub }: typeof from) => `${new URL(hub.url).host}/team/app`;
  const auth = Buffer.from(`${ADMIN.username}:${ADMIN.password}`).toString('base64');
  const auths = Object.fromEntries([from, to].map(({ hub }) => [new URL(hub.url).host, { auth }]));
  await writeFile(path.join(folder, 'config.json'), JSON.stringify({ auths }));
  const env = { HOME: folder, DOCKER_CONFIG: folder, COSIGN_PASSWORD: '' };
  const cosign = async (...words: string[]): Promise<string> => {
    const program = findProgram('cosign') ?? 'cosign';
    return (await run([program, ...words], { env, cwd: folder, timeoutMs: TIMEOUT_MS })).stdout;
  };
  const plain = ['--allow-http-registry', '--allow-insecure-registry'];
  const verify = ['verify', '--key', 'cosign.pub', '--insecure-ignore-tlog', ...plain];
  const { digest } = await from.hub.pushImage('v1', [Buffer.from('signed')]);
  const other = await from.hub.pushImage('v2', [Buffer.from('not signed')]);
  await cosign('generate-key-pair');
  const sign = ['sign', '--yes', '--key', 'cosign.key', '--tlog-upload=false', ...plain];
  await cosign(...sign, `${at(from)}@${digest}`);
  const file = path.join(folder, 'bundle.tar');
  await writeFile(key, await flotilla('bundle', 'key', ...from.words));
  const images = ['team/app:v1', 'team/app:v2'];
  await flotilla('bundle', 'export', '--out', file, ...from.words, ...images);
  await flotilla('bundle', 'import', file, ...to.words);
  assert.match(await cosign(...verify, `${at(to)}@${digest}`), new RegExp(digest));
  const unsigned = cosign(...verify, `${at(to)}@${other.digest}`);
  await assert.rejects(unsigned, /no signatures found/, 'what nobody signed does not');
});

const noContainerd =
  process.getuid?.() === 0 && findProgram('containerd') && findProgram('ctr')
    ? false
    : 'needs root and containerd';

test('containerd imports a bundle under the name of the hub', { skip: noContainerd }, async () => {
  const folder = await scratch.make('containerd');
  const { hub, words } = await hubWithConfig('containerd-hub');
  await using _ = hub;
  const image = await makeImage(scratch, 'for-containerd', [20_000]);
  const login = ['--dest-tls-verify=false', '--dest-creds', `${ADMIN.username}:${ADMIN.password}`];
  const at = `docker://${new URL(hub.url).host}/team/app:v1`;
  await run([...COPY, ...login, `oci:${image.layout}:v1`, at]);
  const subject = { digest: image.manifestDigest, size: 1, mediaType: 'a/b' };
  await hub.pushImage('signature', [Buffer.from('signed')], { subject });
  const file = path.join(folder, 'bundle.tar');
  await flotilla('bundle', 'export', '--out', file, ...words, 'team/app:v1');
  const config = path.join(folder, 'config.toml');
  await writeFile(
    config,
    `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${folder}/sock"
[ttrpc]
  address = "${folder}/sock.ttrpc"
`,
  );
  const containerd = start(['containerd', '--config', config], { name: 'containerd' });
  try {
    const ctr = ['ctr', '--address', `${folder}/sock`, '--namespace', 'k8s.io', 'images'];
    await until('containerd answers', TIMEOUT_MS, async () => {
      return (await attempt([...ctr, 'ls'])).code === 0 || undefined;
    });
    await run([...ctr, 'import', '--no-unpack', file]);
    const { stdout } = await run([...ctr, 'ls', '-q']);
    assert.equal(stdout, 'hub.test/team/app:v1\n');
  } finally {
    await containerd.stop();
  }
});
