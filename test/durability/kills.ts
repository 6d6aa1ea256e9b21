// An upload through the deaths of its hub, wherever that keeps its blobs.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { request } from 'undici';
import { digestOf } from '../../proto/oci/digest.ts';
import type { Running } from '../rig/processes.ts';
import { AUTHORIZATION, startHubProcess } from './hub-process.ts';

const MIB = 1024 * 1024;
const UPLOADS = '/v2/team/app/blobs/uploads/';

type Ask = { method: 'GET' | 'POST' | 'PATCH' | 'PUT'; body?: Buffer | Readable };

async function ask(url: string, { method, body }: Ask) {
  const headers = { authorization: AUTHORIZATION };
  const response = await request(url, { method, headers, ...(body && { body }) });
  const bytes = Buffer.from(await response.body.arrayBuffer());
  const { location, range } = response.headers;
  return { status: response.statusCode, location: String(location), range, bytes };
}

async function received(opsUrl: string): Promise<number> {
  const { body } = await request(`${opsUrl}/metrics`);
  const found = /^flotilla_hub_blob_received_bytes_total (\d+)$/m.exec(await body.text());
  return Number(found?.[1] ?? 0);
}

/** Sends bytes without ever ending the request, and kills the hub once it has them. */
async function killedMidway(
  { running, opsUrl }: { running: Running; opsUrl: string },
  url: string,
  bytes: Buffer,
): Promise<void> {
  const before = await received(opsUrl);

  const body = Readable.from(
    (async function* () {
      for (let at = 0; at < bytes.length; at += MIB) yield bytes.subarray(at, at + MIB);
      // oxlint-disable-next-line no-await-in-loop -- one look after the other
      while ((await received(opsUrl)) < before + bytes.length);
      running.kill('SIGKILL');
      await new Promise(() => undefined);
    })(),
  );
  await assert.rejects(ask(url, { method: 'PATCH', body }));
}

/** Kills the hub in the midst of two requests of an upload, which then goes on to its end. */
export async function uploadThroughKills(t: TestContext, sections: object = {}): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-restart-'));
  const bytes = randomBytes(12 * MIB + 3);
  const digest = digestOf(bytes);
  let location = '';
  let held = 0;
  for (let life = 0; life < 3; life += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one life after the other
    const { running, url, opsUrl } = await startHubProcess(
      folder,
      path.join(folder, 'data'),
      sections,
    );
    t.after(() => running.kill('SIGKILL'));
    if (life === 0) {
      // oxlint-disable-next-line no-await-in-loop -- one request after the other
      ({ location } = await ask(url + UPLOADS, { method: 'POST' }));
    }
    // oxlint-disable-next-line no-await-in-loop -- one request after the other
    const status = await ask(url + location, { method: 'GET' });
    assert.equal(status.range, `0-${Math.max(0, held - 1)}`, 'all that was acknowledged');
    const part = bytes.subarray(held, held + 3 * MIB + 1);
    // oxlint-disable-next-line no-await-in-loop -- one request after the other
    const patched = await ask(url + location, { method: 'PATCH', body: part });
    assert.equal(patched.status, 202);
    held += part.length;
    if (life < 2) {
      const more = bytes.subarray(held, held + 2 * MIB);
      // oxlint-disable-next-line no-await-in-loop -- one life after the other
      await killedMidway({ running, opsUrl }, url + location, more);
      continue;
    }
    const body = bytes.subarray(held);
    // oxlint-disable-next-line no-await-in-loop -- one request after the other
    const put = await ask(`${url}${location}?digest=${digest}`, { method: 'PUT', body });
    assert.equal(put.status, 201, put.bytes.toString());
    // oxlint-disable-next-line no-await-in-loop -- one request after the other
    const blob = await ask(`${url}/v2/team/app/blobs/${digest}`, { method: 'GET' });
    assert.ok(blob.bytes.equals(bytes));
    // oxlint-disable-next-line no-await-in-loop -- the last life
    assert.equal((await running.stop()).code, 0);
  }
  await rm(folder, { recursive: true });
}
