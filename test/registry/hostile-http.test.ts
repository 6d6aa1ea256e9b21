import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BASIC, TestHub } from './test-hub.ts';

let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
});
after(() => hub[Symbol.asyncDispose]());

const HOST = 'host: hub.test\r\n';
const LOGIN = `authorization: ${BASIC}\r\n`;
const HIDDEN = `GET /api/v1/accounts HTTP/1.1\r\n${HOST}${LOGIN}connection: close\r\n\r\n`;
const START = 'POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\n';

test('a request whose length can be read in two ways hides no other one', async () => {
  const framings = [
    `content-length: ${HIDDEN.length + 5}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
    'content-length: 0\r\ncontent-length: 5\r\n\r\n',
    'content-length: 0, 5\r\n\r\n',
    'content-length: +0\r\n\r\n',
    'content-length: 0x0\r\n\r\n',
    'transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n',
    'transfer-encoding: xchunked\r\n\r\n0\r\n\r\n',
    'transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n',
    'transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n',
    'transfer-encoding: chunked\r\n\r\n-1\r\n\r\n',
    'transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n',
    'content-length : 0\r\n\r\n',
    'x: a\r\n folded: b\r\ncontent-length: 0\r\n\r\n',
  ];
  for (const framing of framings) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const answer = await hub.raw(`${START}${HOST}${framing}${HIDDEN}`);
    assert.match(answer, /^HTTP\/1\.1 400 /, JSON.stringify(framing));
    assert.ok(!answer.includes('"accounts"'), JSON.stringify(framing));
  }
});

test('nothing of a request comes back as a header of its own', async () => {
  const strange = '%0d%0aset-cookie:%20a=b';
  const targets = [
    `/v2/team/app/manifests/v1?ns=${strange}`,
    `/v2/team/app/tags/list?last=${strange}`,
    `/v2/_catalog?n=1&last=${strange}`,
    `/v2/team/app/blobs/uploads/?digest=${strange}`,
    `/v2/${strange}/manifests/v1`,
    `/api/v1/accounts/${strange}`,
  ];
  for (const target of targets) {
    const text = `GET ${target} HTTP/1.1\r\n${HOST}connection: close\r\n\r\n`;
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const [head = ''] = (await hub.raw(text)).split('\r\n\r\n');
    assert.match(head, /^HTTP\/1\.1 4\d\d |^HTTP\/1\.1 200 /, target);
    assert.ok(!/^set-cookie/im.test(head), target);
  }
});
