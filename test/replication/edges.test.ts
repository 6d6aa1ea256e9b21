import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBody } from '../../proto/hubapi/body.ts';
import { ExecutionAnswer, ExecutionList } from '../../proto/hubapi/replication.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { missingDockerRegistry } from '../rig/docker-registry.ts';
import { until } from '../rig/until.ts';
import { imageOf, ownRegistry, sendManifest } from './own-registry.ts';
import { replicationRig, someBytes, statesOf } from './rig.ts';

const skip = missingDockerRegistry();
const LONG_MS = 30_000;
const SLOW = 400_000;

test('naming a digest gives no right to the bytes of a private project', async (t) => {
  const secret = someBytes(1000);
  const manifest = imageOf([secret]);
  let asked = 0;
  const url = await ownRegistry(t, (path, response, { method }) => {
    if (path.includes('/tags/list')) return void response.end('{"tags":["v1"]}');
    if (path.includes('/manifests/v1') || path.includes(digestOf(manifest))) {
      return sendManifest(response, manifest);
    }
    if (path.includes(digestOf(Buffer.from('{}')))) return void response.end('{}');
    // It says that it has the blob, as one that wants it would, and sends none.
    const isSecret = path.includes(digestOf(secret));
    if (isSecret && method === 'GET') asked += 1;
    if (isSecret) response.setHeader('content-length', method === 'HEAD' ? secret.length : 0);
    response.statusCode = isSecret && method === 'HEAD' ? 200 : 404;
    response.end();
  });
  const { hub, here, rule, run } = await replicationRig(t, { url });
  const made = await hub.api('POST', '/projects', { name: 'vault', visibility: 'private' });
  assert.equal(made.status, 201);
  await here.blob('vault/app', secret);
  await rule('in', { direction: 'pull', repositories: ['team/app'], attempts: 1 });
  const ended = await run('in');
  assert.deepEqual(statesOf(ended), ['team/app:v1 failed']);
  assert.match(ended.artifacts[0]?.message ?? '', /the source lacks the blob/);
  assert.ok(asked > 0, 'the bytes were asked for at the source');
  assert.equal(await here.hasBlob('team/app', digestOf(secret)), false);
});

test('bytes of another digest are not stored, and the result says so', async (t) => {
  const layer = someBytes(1000);
  const manifest = imageOf([layer]);
  const url = await ownRegistry(t, (path, response) => {
    if (path.includes('/tags/list')) return void response.end('{"tags":["v1"]}');
    if (path.includes('/manifests/v1') || path.includes(`/manifests/${digestOf(manifest)}`)) {
      return sendManifest(response, manifest);
    }
    if (path.includes(digestOf(layer))) return void response.end(Buffer.alloc(layer.length));
    if (path.includes('/blobs/')) return void response.end('{}');
    response.statusCode = 404;
    response.end();
  });
  const { here, rule, run } = await replicationRig(t, { url });
  await rule('in', { direction: 'pull', repositories: ['team/app'], attempts: 2 });
  const ended = await run('in');
  assert.equal(ended.state, 'queued', 'for another attempt');
  assert.deepEqual(statesOf(ended), ['team/app:v1 failed']);
  const [artifact] = ended.artifacts;
  assert.match(artifact?.message ?? '', /the 1000 bytes sent have digest sha256:/);
  assert.equal(artifact?.attempts, 2);
  assert.equal(await here.tagged('team/app', 'v1'), undefined);
  assert.equal(await here.hasBlob('team/app', digestOf(layer)), false);
});

test('what is cut is tried again from where it was', async (t) => {
  const layer = someBytes(3_000_000);
  const manifest = imageOf([layer]);
  const ranges: (string | undefined)[] = [];
  const url = await ownRegistry(t, (path, response, { headers: { range } }) => {
    if (path.includes('/tags/list')) return void response.end('{"tags":["v1"]}');
    if (path.includes('/manifests/v1') || path.includes(`/manifests/${digestOf(manifest)}`)) {
      return sendManifest(response, manifest);
    }
    if (path.includes(digestOf(Buffer.from('{}')))) return void response.end('{}');
    if (!path.includes(digestOf(layer))) {
      response.statusCode = 404;
      return void response.end();
    }
    ranges.push(range);
    const start = Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0);
    if (range !== undefined) {
      response.statusCode = 206;
      const end = layer.length - 1;
      response.setHeader('content-range', `bytes ${start}-${end}/${layer.length}`);
    }
    response.setHeader('content-length', layer.length - start);
    const isLast = ranges.length > 2;
    const part = layer.subarray(start, isLast ? layer.length : start + 1_000_000);
    response.write(part, () => (isLast ? response.end() : response.destroy()));
  });
  const { here, rule, run } = await replicationRig(t, { url });
  await rule('in', { direction: 'pull', repositories: ['team/app'], attempts: 5 });
  const ended = await run('in');
  assert.deepEqual(statesOf(ended), ['team/app:v1 copied'], ended.message);
  assert.equal(ended.artifacts[0]?.attempts, 3);
  assert.equal(await here.tagged('team/app', 'v1'), digestOf(manifest));
  const starts = ranges.map((range) => Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0));
  assert.ok((starts[1] ?? 0) > 0 && (starts[2] ?? 0) > (starts[1] ?? 0), starts.join());
});

test('two repositories that would become one are not mixed', { skip }, async (t) => {
  const { there, here, rule, run } = await replicationRig(t);
  const first = await there.image('a/app', 'v1', [someBytes(10)]);
  await there.image('b/app', 'v1', [someBytes(10)]);
  const settings = { direction: 'pull', repositories: ['a/app', 'b/app'], concurrency: 1 };
  await rule('in', { ...settings, dropSegments: 1, namespace: 'flat' });
  const ended = await run('in');
  assert.deepEqual(statesOf(ended), ['a/app:v1 copied', 'b/app:* refused']);
  assert.match(ended.artifacts[1]?.message ?? '', /a\/app is copied to flat\/app already/);
  assert.equal(await here.tagged('flat/app', 'v1'), first.digest);
});

test('a push does not take a name that another repository has there', { skip }, async (t) => {
  const { hub, here, there, rule, ended } = await replicationRig(t);
  await rule('flat', { direction: 'push', repositories: ['*/app'], dropSegments: 1, onPush: true });
  const states: string[] = [];
  const digests = [];
  for (const name of ['a/app', 'b/app', 'a/app']) {
    digests.push((await here.image(name, 'v1', [someBytes(9)])).digest);
    const { json } = await hub.api('GET', '/replication/executions?n=1');
    const { executions } = checkBody(ExecutionList, json);
    states.push(...statesOf(await ended(executions[0]?.id ?? '')));
  }
  assert.deepEqual(states, ['a/app:v1 copied', 'b/app:* refused', 'a/app:v1 copied']);
  assert.equal(await there.tagged('app', 'v1'), digests[2]);
});

test(
  'a rule keeps to its bandwidth, and an execution that runs is stopped',
  { skip },
  async (t) => {
    const { hub, there, here, rule, ended } = await replicationRig(t);
    await there.image('team/app', 'v1', [someBytes(20 * SLOW)]);
    await rule('in', { direction: 'pull', repositories: ['team/app'], bandwidth: SLOW });
    const started = performance.now();
    const { json } = await hub.api('POST', '/replication/rules/in/executions');
    const id = String(json['id']);
    await until('some bytes came', LONG_MS, async () => {
      return (await hub.metric('replication_bytes_total')) > SLOW ? true : undefined;
    });
    await until('they are told', LONG_MS, async () => {
      const { counts } = checkBody(
        ExecutionAnswer,
        (await hub.api('GET', `/replication/executions/${id}`)).json,
      );
      return counts.bytes > SLOW ? true : undefined;
    });
    const seconds = (performance.now() - started) / 1000;
    const bytes = await hub.metric('replication_bytes_total');
    const most = SLOW * (seconds + 1) + 200_000;
    assert.ok(bytes < most, `${bytes} bytes in ${seconds} s, ${most} at most`);
    const stop = await hub.api('POST', `/replication/executions/${id}/stop`);
    assert.equal(stop.json['state'], 'stopping');
    assert.equal((await ended(id)).state, 'stopped');
    assert.equal(await here.tagged('team/app', 'v1'), undefined);
  },
);

test('artifacts are chosen by their type, annotations and labels', { skip }, async (t) => {
  const { there, rule, run } = await replicationRig(t);
  const annotations = { 'org.example.tier': 'gold' };
  await there.image('team/app', 'gold', [someBytes(10)], { annotations });
  await there.image('team/app', 'plain', [someBytes(10)]);
  await there.image('team/app', 'model', [], { annotations, artifactType: 'application/x-model' });
  const labels = { config: { Labels: annotations } };
  const labelled = await there.image('team/app', 'labelled', [someBytes(10)], {}, labels);
  const platform = { os: 'linux', architecture: 'amd64' };
  const { digest, bytes } = labelled;
  const child = { mediaType: OCI_MANIFEST, digest, size: bytes.length, platform };
  await there.index('team/app', 'index', [child]);
  const common = { direction: 'pull', repositories: ['team/app'], namespace: 'copies' };
  await rule('tier', { ...common, annotations: { 'org.example.tier': 'gold' } });
  assert.deepEqual(statesOf(await run('tier')), [
    'team/app:gold copied',
    'team/app:index copied',
    'team/app:labelled copied',
    'team/app:model copied',
    'team/app:plain skipped',
  ]);
  await rule('models', { ...common, artifactTypes: ['application/x-model'], namespace: 'models' });
  const models = await run('models');
  assert.deepEqual(statesOf(models), [
    'team/app:gold skipped',
    'team/app:index skipped',
    'team/app:labelled skipped',
    'team/app:model copied',
    'team/app:plain skipped',
  ]);
  assert.match(models.artifacts[0]?.message ?? '', /does not choose artifacts of type/);
});

test('a referrer that names the index of its subject holds nothing up', { skip }, async (t) => {
  const { here, there, rule, run } = await replicationRig(t);
  const image = await there.image('team/app', undefined, [someBytes(9)]);
  const subject = { mediaType: OCI_MANIFEST, digest: image.digest, size: image.bytes.length };
  const index = await there.index('team/app', 'v1', [subject]);
  const about = { mediaType: OCI_INDEX, digest: index.digest, size: index.bytes.length };
  const round = { schemaVersion: 2, mediaType: OCI_INDEX, subject, manifests: [about] };
  const referrer = await there.manifest('team/app', undefined, round, OCI_INDEX);
  const entry = { mediaType: OCI_INDEX, digest: referrer.digest, size: referrer.bytes.length };
  await there.index('team/app', `sha256-${image.digest.slice(7)}`, [entry]);
  await rule('in', { direction: 'pull', repositories: ['team/app'], namespace: 'copies' });
  assert.deepEqual(statesOf(await run('in')), ['team/app:v1 copied']);
  assert.equal(await here.tagged('copies/team/app', 'v1'), index.digest);
  assert.deepEqual(await here.referrers('copies/team/app', image.digest), [referrer.digest]);
});

test('a repository that cannot be listed keeps no other from being copied', async (t) => {
  const manifest = imageOf([]);
  let isBroken = true;
  const url = await ownRegistry(t, (path, response) => {
    if (path.includes('/team/first/') && isBroken) response.statusCode = 403;
    else if (path.includes('/team/none/')) response.statusCode = 404;
    else if (path.includes('/tags/list')) return void response.end('{"tags":["v1"]}');
    else if (/manifests\/(v1|sha256:)/.test(path)) {
      return sendManifest(response, manifest);
    } else if (path.includes('/blobs/')) {
      response.setHeader('content-length', 2);
      return void response.end('{}');
    } else response.statusCode = 404;
    response.end();
  });
  const { here, rule, run } = await replicationRig(t, { url });
  const repositories = ['team/first', 'team/none', 'team/second'];
  await rule('in', { direction: 'pull', repositories, attempts: 1 });
  const ended = await run('in');
  const rest = ['team/none:* skipped', 'team/second:v1 copied'];
  assert.deepEqual(statesOf(ended), ['team/first:* failed', ...rest]);
  assert.match(ended.artifacts[0]?.message ?? '', /403/);
  assert.match(ended.artifacts[1]?.message ?? '', /no tag/);
  assert.equal(ended.state, 'failed', 'of no use to try that again at once');
  assert.equal(await here.tagged('team/second', 'v1'), digestOf(manifest));
  isBroken = false;
  const again = await run('in');
  assert.equal(again.state, 'done', again.message);
});
