import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { findProgram } from '../rig/requirements.ts';
import { makeCertificate } from './certificate.ts';
import { RemoteDockerHub } from './remote.ts';

const skip = findProgram('openssl') === undefined && 'needs openssl: see test/rig/install.sh';
const REPOSITORY = parseRepository('library/app');

test('a stand-in that was killed has its images again, over TLS', { skip }, async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-stand-in-'));
  t.after(() => rm(folder, { recursive: true }));
  const files = await makeCertificate(folder, ['localhost', '127.0.0.1']);
  const remote = new RemoteDockerHub(files);
  await remote.start();
  t.after(() => remote.kill());
  const layers = [{ seed: 'app', bytes: 100_000 }];
  const platforms = [{ os: 'linux', architecture: 'amd64', layers }];
  const image = await remote.addImage({ repository: REPOSITORY, tags: ['v1'], platforms });
  await remote.kill();
  await remote.start();

  const { url, tokenUrl, cdnUrl } = remote.urls;
  const client = new RegistryClient({
    baseUrl: url,
    allowPlainHttp: false,
    ca: await readFile(files.certFile, 'utf8'),
    tokenHosts: [new URL(tokenUrl).host],
    redirectHosts: [new URL(cdnUrl).host],
  });
  t.after(() => client.close());
  const manifest = await client.getManifest(REPOSITORY, parseReference('v1'), {});
  assert.equal(manifest?.digest, image.digest);
  const layer = image.manifests[0]?.layers[0];
  assert.ok(layer);
  const body = await client.openBlob(REPOSITORY, layer.digest, { start: 1000 });
  let bytes = 0;
  for await (const part of body?.body ?? []) bytes += part.length;
  assert.equal(bytes, layer.size - 1000);
  const report = await remote.report();
  assert.deepEqual(report.counted, { '127.0.0.1': 1 });
  assert.deepEqual(report.blobs[layer.digest], { gets: 1, bytes });
});
