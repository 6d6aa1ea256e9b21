import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import type { Digest } from '../../proto/oci/digest.ts';
import { until } from '../../test/rig/until.ts';
import { startTestMirror } from './fixture.ts';
import type { ReadBlob, TestMirror } from './fixture.ts';
import type { MirrorConfig } from './options.ts';

const MIB = 1024 * 1024;
const BYTES = randomBytes(24 * MIB + 4_321);
const PIECE_BYTES = 16 * 1024;
const CLIENTS = 24;
const CLOSED_WITHIN_MS = 20_000;

let folder: string;
let file: FileHandle;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'flotilla-sink-'));
  await writeFile(path.join(folder, 'blob'), BYTES);
  file = await open(path.join(folder, 'blob'));
});

after(async () => {
  await file.close();
  await rm(folder, { recursive: true });
});

/** Gives what the sink does not take in pieces, as the fetch room does. */
const readFile: ReadBlob = async function* read({ start, end }, { sink, signal }) {
  const piece = Buffer.alloc(PIECE_BYTES);
  for (let at = start; at < end;) {
    signal?.throwIfAborted();
    const taken = await sink?.take(file.fd, at, end - at);
    const length = taken === undefined || taken === 0 ? Math.min(PIECE_BYTES, end - at) : 0;
    if (length > 0) await file.read(piece, 0, length, at);
    at += taken === undefined || taken === 0 ? length : taken;
    yield piece.subarray(0, length);
  }
};

async function mirrorOfFile(
  config: Partial<MirrorConfig> = {},
): Promise<TestMirror & { digest: Digest; path: string }> {
  const on = await startTestMirror(config);
  const digest = on.content.put(BYTES);
  on.hub.blobs.set(`team/app@${digest}`, BYTES.length);
  on.content.read = () => readFile;
  return { ...on, digest, path: `/v2/team/app/blobs/${digest}` };
}

async function get(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const asked = request(url, { headers, agent: false }).end();
  const [response]: IncomingMessage[] = await once(asked, 'response');
  if (response === undefined) throw new Error('no response');
  return response;
}

async function sha256Of(body: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of body) hash.update(bytes);
  return hash.digest('hex');
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function sentByFile(on: TestMirror): Promise<number> {
  const line = /^flotilla_agent_mirror_sendfile_bytes_total (\d+)$/m.exec(await on.metrics.text());
  return Number(line?.[1]);
}

async function openFiles(): Promise<number> {
  return (await readdir('/proc/self/fd')).length;
}

describe('what lies in a file', () => {
  it('gets to the client whole, most of it not through memory', async () => {
    await using on = await mirrorOfFile();
    assert.equal(await sha256Of(await get(on.url + on.path)), sha256(BYTES));
    assert.ok((await sentByFile(on)) > BYTES.length / 2);
  });

  it('is sent through memory when that is configured', async () => {
    await using on = await mirrorOfFile({ sendfile: false });
    assert.equal(await sha256Of(await get(on.url + on.path)), sha256(BYTES));
    assert.equal(await sentByFile(on), 0);
  });

  it('is sent in part when a range of it is asked for', async () => {
    await using on = await mirrorOfFile();
    const response = await get(on.url + on.path, { range: `bytes=1000001-${20 * MIB}` });
    assert.equal(response.statusCode, 206);
    assert.equal(await sha256Of(response), sha256(BYTES.subarray(1_000_001, 20 * MIB + 1)));
  });

  it('gets whole to a client that reads slowly, and to others meanwhile', async () => {
    await using on = await mirrorOfFile();
    const slow = await get(on.url + on.path);
    const first = await once(slow, 'readable').then(() => slow.read(1_000));
    const others = Array.from({ length: CLIENTS }, () => get(on.url + on.path).then(sha256Of));
    assert.deepEqual(await Promise.all(others), Array(CLIENTS).fill(sha256(BYTES)));
    const hash = createHash('sha256').update(first);
    for await (const bytes of slow) hash.update(bytes);
    assert.equal(hash.digest('hex'), sha256(BYTES));
  });

  it('comes in order with the other answers of its connection', async () => {
    await using on = await mirrorOfFile();
    const { hostname, port } = new URL(on.url);
    const socket = connect(Number(port), hostname);
    const ask = (rest: string): string => `GET ${on.path} HTTP/1.1\r\nhost: x\r\n${rest}\r\n`;
    socket.write(ask('') + ask('range: bytes=5-9\r\n') + ask('connection: close\r\n'));
    const answers = await buffer(socket);
    const bodies = [BYTES, BYTES.subarray(5, 10), BYTES];
    let at = 0;
    for (const body of bodies) {
      const end = answers.indexOf('\r\n\r\n', at) + 4;
      assert.ok(answers.subarray(end, end + body.length).equals(body));
      at = end + body.length;
    }
    assert.equal(at, answers.length);
  });

  it('leaves no connection open when clients break off', async () => {
    await using on = await mirrorOfFile();
    await sha256Of(await get(on.url + on.path));
    const filesBefore = await openFiles();
    const broken = Array.from({ length: CLIENTS }, async () => {
      const response = await get(on.url + on.path);
      await once(response, 'readable');
      response.destroy();
    });
    await Promise.all(broken);
    const isOver = async (): Promise<true | undefined> => {
      if (on.mirror.running() > 0 || (await openFiles()) > filesBefore) return undefined;
      return true;
    };
    await until('connections closed', CLOSED_WITHIN_MS, isOver);
  });

  it('that is shorter than it was is cut, not ended as if it were whole', async () => {
    await using on = await mirrorOfFile();
    on.content.read = () => (range, o) => {
      const sink = o.sink && { take: () => Promise.resolve(0) };
      return readFile({ start: range.start, end: range.end - 1 }, { ...o, sink });
    };
    const response = await get(on.url + on.path);
    await assert.rejects(sha256Of(response), { code: 'ECONNRESET' });
  });
});
