import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Fleet } from '../rig/fleet.ts';
import type { Published } from '../rig/fleet.ts';
import { ADMIN } from '../rig/fleet-config.ts';
import { HUB_PORT, MIRROR_PORT } from '../rig/flotilla.ts';
import { MIB } from '../rig/images.ts';
import { missingFor } from '../rig/requirements.ts';
import type { Worker } from '../rig/worker.ts';

const ANSWER_TIMEOUT_MS = 5000;
const BASIC = Buffer.from(`${ADMIN.username}:${ADMIN.password}`).toString('base64');
const ZEROS = '0'.repeat(64);
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

/** Paths no client means well with, and the answers that refuse them. */
const BAD_PATHS: readonly [path: string, statuses: readonly number[]][] = [
  ['/v2/..%2f..%2fetc/manifests/passwd', [400, 404]],
  ['/v2/a%2fb/manifests/v1', [400, 404]],
  ['/v2/../../etc/passwd', [400, 404]],
  ['/v2/UPPER/manifests/v1', [400, 404]],
  ['/v2/a//b/manifests/v1', [400, 404]],
  [`/v2/${'a'.repeat(3000)}/manifests/v1`, [400, 404, 414]],
  ['/v2/team/app/manifests/sha256:baddigest', [400, 404]],
  ['/v2/team/app/blobs/sha256:zz', [400, 404]],
  [`/v2/team/app/blobs/md5:${ZEROS}`, [400, 404]],
  // 401 is for what may be private, so that a stranger does not learn what is there.
  [`/v2/team/app/blobs/sha256:${ZEROS}`, [401]],
  [`/v2/test/bad-input/blobs/sha256:${ZEROS}`, [404]],
  [`/v2/team/app/manifests/${'t'.repeat(129)}`, [400, 404]],
  ['/v2/team/app/manifests/v1%00', [400, 404]],
  ['/v2/team/app/unknown/v1', [400, 404]],
];

/** Bytes that are not an HTTP request a server may act on. */
const BAD_REQUESTS: readonly [what: string, bytes: string][] = [
  ['bytes that are no HTTP', '\0\x01\x02 hello\r\n\r\n'],
  ['an unknown protocol version', 'GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n'],
  ['headers beyond any limit', `GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(200_000)}\r\n\r\n`],
  [
    'two lengths for one body',
    'POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  ],
  [
    'a length and chunks for one body',
    'POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n' +
      'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['a header name with a space', 'GET /v2/ HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n'],
];

describe('bad input', { skip: missingFor() }, () => {
  let fleet: Fleet;
  let image: Published;
  before(async () => {
    fleet = await Fleet.start({ nodes: 1, containerd: false });
    image = await fleet.publish('bad-input', [6 * MIB]);
  });
  after(async () => fleet[Symbol.asyncDispose]());

  function sides(): { name: string; port: number; worker: Worker }[] {
    return [
      { name: 'hub', port: HUB_PORT, worker: fleet.hub.worker },
      { name: 'mirror', port: MIRROR_PORT, worker: fleet.node(1).worker },
    ];
  }

  function blobUrl(port: number): string {
    const layer = image.layers.at(-1);
    return `http://127.0.0.1:${port}/v2/${image.repository}/blobs/${layer?.digest ?? ''}`;
  }

  test('paths that name nothing are refused by the hub and by the mirror', async () => {
    for (const { name, port, worker } of sides()) {
      for (const [path, statuses] of BAD_PATHS) {
        const status = await statusOf(worker, port, path);
        assert.ok(statuses.includes(status), `${name} answered ${status} to ${path.slice(0, 80)}`);
      }
    }
  });

  test('what is not proper HTTP ends the connection and nothing else', async () => {
    for (const { name, port, worker } of sides()) {
      for (const [what, bytes] of BAD_REQUESTS) {
        const target = { host: '127.0.0.1', port };
        const { answer, closed } = await worker.raw(target, bytes, ANSWER_TIMEOUT_MS);
        assert.ok(closed, `${name} kept the connection open after ${what}`);
        assert.match(answer, /^(HTTP\/1\.1 (4\d\d|505)|$)/, `${name} answered to ${what}`);
      }
    }
  });

  test('ranges: bad ones are ignored, impossible ones are 416, good ones are exact', async () => {
    const size = image.layers.at(-1)?.size ?? 0;
    const cases: [range: string, status: number, bytes: number][] = [
      ['bytes=zzz', 200, size],
      ['bytes=5-2', 416, -1],
      ['lines=0-1', 200, size],
      ['bytes=0-0,5-6', 200, size],
      [`bytes=${size}-`, 416, -1],
      [`bytes=${'9'.repeat(30)}-`, 416, -1],
      ['bytes=0-0', 206, 1],
      [`bytes=${size - 10}-`, 206, 10],
      ['bytes=-7', 206, 7],
      [`bytes=1-${'9'.repeat(30)}`, 206, size - 1],
    ];
    for (const { name, port, worker } of sides()) {
      for (const [range, status, bytes] of cases) {
        const answer = await worker.http(blobUrl(port), { headers: { range } });
        const label = `${name}, ${range.slice(0, 40)}`;
        assert.equal(answer.status, status, label);
        if (bytes >= 0) assert.equal(answer.bodyBytes, bytes, label);
      }
    }
  });

  test('manifests that are not what they say are refused with an OCI error', async () => {
    const config = `{"mediaType":"application/json","digest":"sha256:${ZEROS}","size":2}`;
    const head = `"schemaVersion":2,"mediaType":"${MANIFEST_TYPE}"`;
    const proper = `{${head},"config":${config},"layers":[]}`;
    const cases: [what: string, body: string, statuses: number[]][] = [
      ['no JSON', '{', [400]],
      ['not UTF-8', Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'), [400]],
      ['a list', '[]', [400]],
      ['a duplicate key', proper.replace('{', '{"schemaVersion":2,'), [400]],
      ['both kinds', proper.replace('{', '{"manifests":[],'), [400]],
      ['an unknown blob', proper, [400, 404]],
      ['deep nesting', '['.repeat(100_000), [400]],
      ['5 MiB', `{"a":"${'x'.repeat(5 * MIB)}"}`, [413]],
    ];
    for (const [what, body, statuses] of cases) {
      const url = `http://127.0.0.1:${HUB_PORT}/v2/${image.repository}/manifests/bad`;
      const headers = { authorization: `Basic ${BASIC}`, 'content-type': MANIFEST_TYPE };
      const bytes = Buffer.from(body, 'latin1');
      const answer = await fleet.hub.worker.http(url, { method: 'PUT', headers, body: bytes });
      assert.ok(statuses.includes(answer.status), `${what}: ${answer.status}`);
      assert.match(answer.body.toString(), /"errors":\s*\[/, what);
      const seen = await fleet.hub.worker.http(url);
      assert.equal(seen.status, 404, `${what} can be read back`);
    }
  });

  test('an upload cut short, or with a wrong digest, leaves nothing to see', async () => {
    const base = `/v2/${image.repository}/blobs`;
    const { worker } = fleet.hub;
    const digest = `sha256:${'1'.repeat(64)}`;
    const head = `POST ${base}/uploads/?digest=${digest} HTTP/1.1\r\nHost: x\r\n`;
    const auth = `Authorization: Basic ${BASIC}\r\n`;
    const target = { host: '127.0.0.1', port: HUB_PORT };
    const short = `${head}${auth}Content-Length: 1000\r\n\r\nonly this`;
    await worker.raw(target, short, 1000);
    const wrong = `${head}${auth}Connection: close\r\nContent-Length: 3\r\n\r\nabc`;
    const { answer } = await worker.raw(target, wrong, ANSWER_TIMEOUT_MS);
    assert.match(answer, /^HTTP\/1\.1 400[^]*DIGEST_INVALID/);
    const seen = await worker.http(`http://127.0.0.1:${HUB_PORT}${base}/${digest}`);
    assert.equal(seen.status, 404);
  });

  test('the mirror takes no writes', async () => {
    const url = `http://127.0.0.1:${MIRROR_PORT}/v2/${image.repository}`;
    for (const [method, path] of [
      ['POST', '/blobs/uploads/'],
      ['PUT', '/manifests/v1'],
      ['DELETE', '/manifests/v1'],
    ] as const) {
      const answer = await fleet.node(1).worker.http(url + path, { method });
      assert.ok([400, 404, 405].includes(answer.status), `${method}: ${answer.status}`);
    }
  });

  test('after all of it both programs live and serve the image', async () => {
    for (const { name, port, worker } of sides()) {
      const answer = await worker.http(blobUrl(port));
      assert.equal(`sha256:${answer.bodySha256}`, image.layers.at(-1)?.digest, name);
    }
    for (const program of [fleet.hub, fleet.node(1).agent]) {
      const health = await program.worker.http(`${program.opsUrl}/healthz`);
      assert.equal(health.status, 200, program.name);
      assert.equal(program.running.exit, undefined);
    }
  });
});

/** Sends a path as it is, without the tidying that an HTTP client would do to it. */
async function statusOf(worker: Worker, port: number, path: string): Promise<number> {
  const request = `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
  const { answer } = await worker.raw({ host: '127.0.0.1', port }, request, ANSWER_TIMEOUT_MS);
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
}
