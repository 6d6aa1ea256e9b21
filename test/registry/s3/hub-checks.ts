// A hub that keeps its blobs in a bucket, over HTTP.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { request } from 'undici';
import { digestOf } from '../../../proto/oci/digest.ts';
import { uploadThroughKills } from '../../durability/kills.ts';
import { ADMIN, assertRefused, TestHub, withDigest } from '../test-hub.ts';
import { makeImage, readLayout } from '../../rig/images.ts';
import { run } from '../../rig/processes.ts';
import { Scratch } from '../../rig/scratch.ts';
import type { S3Server } from './s3-rig.ts';

const MIB = 1024 * 1024;

type Options = { skip: string | false; server: () => S3Server };

export function hubChecks({ skip, server }: Options): void {
  test('a hub on s3 serves what was pushed, whole and in ranges', { skip }, async () => {
    await using hub = await TestHub.start(server().sections('serves/'));
    const layer = randomBytes(20 * MIB + 5);
    const { digest, bytes } = await hub.pushImage('v1', [layer]);
    const manifest = await hub.ask(`/v2/team/app/manifests/${digest}`);
    assert.ok(manifest.body.equals(bytes));
    const target = `/v2/team/app/blobs/${digestOf(layer)}`;
    assert.ok((await hub.ask(target)).body.equals(layer));
    const headers = { range: `bytes=${9 * MIB}-${17 * MIB}` };
    const part = await hub.ask(target, { headers });
    assert.equal(part.status, 206);
    assert.ok(part.body.equals(layer.subarray(9 * MIB, 17 * MIB + 1)));
    const long = digestOf(layer, 'sha512');
    const put = withDigest(await hub.open(), long);
    assert.equal((await hub.ask(put, { method: 'PUT', body: layer })).status, 201);
    assert.ok((await hub.ask(`/v2/team/app/blobs/${long}`)).body.equals(layer));
  });

  test('skopeo pushes to a hub on s3 and pulls back the same', { skip }, async (t) => {
    const scratch = Scratch.open();
    t.after(() => scratch.close());
    const image = await makeImage(scratch, 'app', [9 * MIB, 20_000]);
    await using hub = await TestHub.start(server().sections('skopeo/'));
    const at = `docker://${new URL(hub.url).host}/team/skopeo:v1`;
    const copy = ['skopeo', '--insecure-policy', 'copy', '--quiet'];
    const login = [
      '--dest-tls-verify=false',
      '--dest-creds',
      `${ADMIN.username}:${ADMIN.password}`,
    ];
    await run([...copy, ...login, `oci:${image.layout}:v1`, at]);
    const layout = path.join(scratch.folder, 'pulled');
    await run([...copy, '--src-tls-verify=false', at, `oci:${layout}:v1`]);
    assert.deepEqual((await readLayout(layout)).layers, image.layers);
  });

  checkUploads({ skip, server });
  checkAway({ skip, server });

  test('a hub on s3 with redirects sends those with rights to the bucket', { skip }, async () => {
    await using hub = await TestHub.start(server().sections('redirect/', { redirect: true }));
    const bytes = randomBytes(1_000);
    const target = `/v2/team/app/blobs/${await hub.push(bytes)}`;
    const sent = await hub.ask(target);
    assert.equal(sent.status, 307);
    const { body } = await request(String(sent.headers['location']));
    assert.deepEqual(Buffer.from(await body.arrayBuffer()), bytes);
    const head = await hub.ask(target, { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers['content-length']], [200, '1000']);
    const other = await hub.ask(`/v2/team/other/blobs/${digestOf(bytes)}`);
    assertRefused(other, 404, 'BLOB_UNKNOWN');
  });
}

function checkUploads({ skip, server }: Options): void {
  test('an upload to s3 goes on after the hub was killed in the midst', { skip }, (t) =>
    uploadThroughKills(t, server().sections('kills/')),
  );

  test('an upload to s3 goes on after a restart of its hub', { skip }, async (t) => {
    const config = server().sections('restart/');
    const bytes = randomBytes(19 * MIB + 1);
    const cuts = [0, 3 * MIB, 3 * MIB + 1, 12 * MIB];
    let hub = await TestHub.start(config, { keep: true });
    const { folder } = hub;
    t.after(() => rm(folder, { recursive: true, force: true }));
    const location = await hub.open();
    for (const [i, cut] of cuts.entries()) {
      const body = bytes.subarray(cut, cuts[i + 1] ?? bytes.length);
      const patched = await hub.ask(location, { method: 'PATCH', body });
      assert.equal(patched.status, 202, patched.body.toString());
      await hub[Symbol.asyncDispose]();
      hub = await TestHub.start(config, { folder, keep: true });
    }
    const put = await hub.ask(withDigest(location, digestOf(bytes)), { method: 'PUT' });
    assert.equal(put.status, 201, put.body.toString());
    assert.ok((await hub.ask(`/v2/team/app/blobs/${digestOf(bytes)}`)).body.equals(bytes));
    await hub[Symbol.asyncDispose]();
  });
}

function checkAway({ skip, server }: Options): void {
  test('a hub whose s3 is away says so and recovers, uploads too', { skip }, async () => {
    await using hub = await TestHub.start(server().sections('away/'));
    const ready = () => hub.ask(`${hub.opsUrl}/readyz`, { authorization: undefined });
    const [held, first, rest] = [randomBytes(MIB), randomBytes(10 * MIB), randomBytes(9 * MIB)];
    const target = `/v2/team/app/blobs/${await hub.push(held)}`;
    const location = await hub.open();
    assert.equal((await hub.ask(location, { method: 'PATCH', body: first })).status, 202);
    await server().gateway.away();
    try {
      for (const [url, method, body] of [
        [target, 'GET', undefined],
        [location, 'PATCH', rest],
        [withDigest(location, digestOf(first)), 'PUT', undefined],
        [withDigest('/v2/team/app/blobs/uploads/', digestOf(rest)), 'POST', rest],
      ] as const) {
        const answer = await hub.ask(url, { method, ...(body && { body }) });
        assertRefused(answer, 503, 'UNAVAILABLE');
        assert.match(String(answer.headers['retry-after']), /^\d+$/);
      }
      assert.equal((await ready()).status, 503);
    } finally {
      await server().gateway.back();
    }
    assert.equal((await ready()).status, 200);
    assert.ok((await hub.ask(target)).body.equals(held));
    const status = await hub.ask(location);
    assert.equal(status.headers['range'], `0-${first.length - 1}`);
    const whole = Buffer.concat([first, rest]);
    const last = withDigest(location, digestOf(whole));
    const put = await hub.ask(last, { method: 'PUT', body: rest });
    assert.equal(put.status, 201, put.body.toString());
    assert.ok((await hub.ask(`/v2/team/app/blobs/${digestOf(whole)}`)).body.equals(whole));
  });
}
