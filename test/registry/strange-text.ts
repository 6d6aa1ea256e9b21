// What clients must not make a hub fail with, in each place of a request that takes text.
import assert from 'node:assert/strict';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { BASIC, type TestHub } from './test-hub.ts';

const TEXTS = [
  '%00',
  'a%00b',
  '%ED%A0%80',
  '%ed%b0%80x',
  '%FF%FE',
  '%C0%80',
  '%',
  '%2',
  '%zz',
  '%2e%2e%2f',
  '%252e%252e',
  '%25%30%30',
  '..',
  '%0d%0aset-cookie:a=b',
  '%F0%9F%92%A9',
  '%E2%80%AE',
  'a'.repeat(3000),
  '-1',
  '9e99',
  '18446744073709551616',
  '__proto__',
  'sha256:%00',
  `sha256:${'0'.repeat(63)}%00`,
  "'%20or%201=1--",
];
const X = '{}';
const ZEROS = `sha256:${'0'.repeat(64)}`;
const SESSION = '3f2504e0-4f89-11d3-9a0c-0305e82c3301';
const PATHS = [
  `/v2/${X}`,
  `/v2/${X}/tags/list`,
  `/v2/team/${X}/tags/list`,
  `/v2/team/app/tags/${X}`,
  `/v2/team/app/manifests/${X}`,
  `/v2/${X}/manifests/v1`,
  `/v2/team/app/blobs/${X}`,
  `/v2/${X}/blobs/${ZEROS}`,
  `/v2/team/app/blobs/uploads/${X}`,
  `/v2/${X}/blobs/uploads/`,
  `/v2/team/app/referrers/${X}`,
  `/v2/${X}/referrers/${ZEROS}`,
  `/v2/team/app/_flotilla/chunks/statement/${X}`,
  `/v2/${X}/_flotilla/chunks/hashes/${ZEROS}`,
];
const QUERIES = [
  `/v2/_catalog?n=${X}`,
  `/v2/_catalog?n=2&last=${X}`,
  `/v2/team/app/tags/list?n=${X}`,
  `/v2/team/app/tags/list?n=2&last=${X}`,
  `/v2/team/app/tags/list?last=${X}`,
  `/v2/team/app/referrers/${ZEROS}?artifactType=${X}`,
  `/v2/team/app/referrers/${ZEROS}?last=${X}&n=${X}&next=${X}&page=${X}`,
  `/v2/team/app/manifests/v1?ns=${X}`,
  `/v2/team/app/manifests/v1?tag=${X}`,
  `/v2/team/app/manifests/${ZEROS}?tag=a&tag=${X}`,
  `/v2/team/app/blobs/uploads/?mount=${X}`,
  `/v2/team/app/blobs/uploads/?mount=${ZEROS}&from=${X}`,
  `/v2/team/app/blobs/uploads/?digest=${X}`,
  `/v2/team/app/blobs/uploads/?digest-algorithm=${X}`,
  `/v2/team/app/blobs/uploads/${SESSION}?digest=${X}`,
  `/v2/team/app/blobs/uploads/${SESSION}?_state=${X}`,
  `/api/token?service=${X}`,
  `/api/token?scope=${X}&account=${X}`,
  `/api/token?scope=repository:${X}:pull`,
  `/api/token?offline_token=true&service=${X}`,
];
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** Every such text in every place: the hub refuses or answers, and never fails. */
export async function assertNeverFails(hub: TestHub): Promise<void> {
  for (const place of [...PATHS, ...QUERIES]) {
    const methods = place.includes('?') ? (['GET', 'POST', 'PUT'] as const) : METHODS;
    for (const text of TEXTS) {
      const target = place.replaceAll(X, text);
      // oxlint-disable-next-line no-await-in-loop -- the methods of one target at once
      const lines = await Promise.all(methods.map((method) => statusLine(hub, method, target)));
      for (const [i, line] of lines.entries()) {
        assert.match(line, /^HTTP\/1\.1 [1-4]\d\d /, `${methods[i]} ${target}: ${line}`);
      }
    }
  }
}

/** As it is: HTTP clients tidy up what they send. */
async function statusLine(hub: TestHub, method: string, target: string): Promise<string> {
  const head = `host: hub.test\r\nauthorization: ${BASIC}\r\ncontent-length: 0\r\n`;
  const text = `${method} ${target} HTTP/1.1\r\n${head}connection: close\r\n\r\n`;
  return (await hub.raw(text)).split('\r\n', 1)[0] ?? '';
}

/** The same in each place of a manifest that is text. */
export async function assertManifestsNeverFail(hub: TestHub): Promise<void> {
  const config = await hub.push(Buffer.from('{}'));
  const descriptor = { mediaType: 'application/octet-stream', digest: config, size: 2 };
  const base = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: descriptor,
    layers: [descriptor],
  };
  const statuses = [];
  for (const strange of ['\\u0000', 'a\\u0000b', '\\ud800', '\\udc00x', '\\uffff', '\\u202e']) {
    const fields: Record<string, unknown>[] = [
      { artifactType: 'X' },
      { artifactType: 'application/X' },
      { annotations: { X: 'a' } },
      { annotations: { a: 'X' } },
      { config: { ...descriptor, mediaType: 'X' } },
      { config: { ...descriptor, annotations: { X: 'X' } } },
      { layers: [{ ...descriptor, mediaType: 'X' }] },
      { layers: [{ ...descriptor, urls: ['X'] }] },
      { subject: { ...descriptor, mediaType: OCI_MANIFEST, digest: digestOf(Buffer.from('s')) } },
      { subject: { ...descriptor, annotations: { X: 'X' } }, annotations: { X: 'X' } },
      { subject: { ...descriptor, digest: 'X' } },
      { unknown: 'X' },
    ];
    for (const field of fields) {
      const bytes = JSON.stringify({ ...base, ...field }).replaceAll('"X"', `"${strange}"`);
      const text = bytes.replaceAll('application/X', `application/${strange}`);
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const { status, body } = await hub.putManifest('v1', text);
      assert.ok(status < 500, `${status} for ${text}: ${body.toString()}`);
      statuses.push(status);
    }
  }
  assert.ok(statuses.includes(201) && statuses.includes(400), 'some are good, some are not');
  for (const path of ['manifests/v1', 'tags/list', `referrers/${config}`]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal((await hub.ask(`/v2/team/app/${path}`)).status, 200, path);
  }
}
