// A hub in this process, on loopback, with its data in a folder of its own.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { Agent, request } from 'undici';
import { startHub, type Hub } from '../../hub/hub.ts';
import { HubOptions } from '../../hub/options.ts';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { createLogger } from '../../proto/ops/logger.ts';

export const ADMIN = { username: 'admin', password: 'a test password' };
const PAIR = `${ADMIN.username}:${ADMIN.password}`;
export const BASIC = `Basic ${Buffer.from(PAIR).toString('base64')}`;
const RAW_TIMEOUT_MS = 10_000;

export type Answer = {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
};
export type Ask = {
  method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  headers?: Record<string, string>;
  body?: Buffer | string | AsyncIterable<Buffer>;
  /** As the admin, unless said otherwise. */
  authorization?: string | undefined;
};

/** Starts, asks and stops a hub; its folder goes with it. */
export class TestHub implements AsyncDisposable {
  readonly folder: string;
  readonly url: string;
  readonly opsUrl: string;
  readonly #hub: Hub;
  readonly #agent = new Agent({ connect: { rejectUnauthorized: false } });
  readonly #keep: boolean;

  private constructor(folder: string, hub: Hub, keep: boolean) {
    this.folder = folder;
    this.#hub = hub;
    this.#keep = keep;
    this.url = (hub.urls[0] ?? '').replace('0.0.0.0', '127.0.0.1');
    this.opsUrl = hub.opsUrls[0] ?? '';
  }

  /** `changes`: sections of the configuration. `folder`: data of an earlier hub. */
  static async start(
    changes: Record<string, object> = {},
    options: { folder?: string; keep?: boolean } = {},
  ): Promise<TestHub> {
    const folder = options.folder ?? (await mkdtemp(path.join(tmpdir(), 'flotilla-hub-')));
    const sections = {
      http: { listen: ['127.0.0.1:0'] },
      ops: { listen: ['127.0.0.1:0'] },
      access: { adminPassword: ADMIN.password },
      ...changes,
      hub: { dataDir: folder, names: ['hub.test'], ...changes['hub'] },
    };
    const config = loadConfig(HubOptions, { text: JSON.stringify(sections), env: {} });
    const hub = await startHub(config, { logger: createLogger({ level: 'silent', name: 'hub' }) });
    return new TestHub(folder, hub, options.keep ?? false);
  }

  async ask(pathOrUrl: string, ask: Ask = {}): Promise<Answer> {
    const { method = 'GET', headers = {}, body } = ask;
    const authorization = 'authorization' in ask ? ask.authorization : BASIC;
    const response = await request(new URL(pathOrUrl, this.url), {
      method,
      headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
      ...(body === undefined ? {} : { body: bodyOf(body) }),
      dispatcher: this.#agent,
    });
    const bytes = Buffer.from(await response.body.arrayBuffer());
    return { status: response.statusCode, headers: response.headers, body: bytes };
  }

  /** Asks the administration, as the admin unless said otherwise. */
  async api(
    method: NonNullable<Ask['method']>,
    target: string,
    body?: object,
    authorization: string | undefined = BASIC,
  ): Promise<Answer & { json: Record<string, unknown> }> {
    const answer = await this.ask(`/api/v1${target}`, {
      method,
      authorization,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = answer.body.toString();
    return { ...answer, json: text === '' ? {} : JSON.parse(text) };
  }

  /** Opens an upload; the path it goes on at. */
  async open(repository = 'team/app'): Promise<string> {
    const answer = await this.ask(`/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    assert.equal(answer.status, 202);
    return locationOf(answer);
  }

  /** Pushes a blob in one PUT. */
  async push(bytes: Buffer, repository = 'team/app'): Promise<Digest> {
    const digest = digestOf(bytes);
    const location = await this.open(repository);
    const answer = await this.ask(withDigest(location, digest), { method: 'PUT', body: bytes });
    assert.equal(answer.status, 201, answer.body.toString());
    return digest;
  }

  /** Pushes an image of these layers under a tag; its manifest. */
  async pushImage(
    tag: string,
    layers: readonly Buffer[],
    more: object = {},
    repository = 'team/app',
  ): Promise<{ digest: Digest; bytes: Buffer }> {
    const parts = [Buffer.from('{}'), ...layers];
    const descriptors = [];
    for (const bytes of parts) {
      const mediaType = 'application/octet-stream';
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      descriptors.push({
        mediaType,
        digest: await this.push(bytes, repository),
        size: bytes.length,
      });
    }
    const [config, ...rest] = descriptors;
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: rest, ...more };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const answer = await this.putManifest(tag, bytes, OCI_MANIFEST, repository);
    assert.equal(answer.status, 201, answer.body.toString());
    return { digest: digestOf(bytes), bytes };
  }

  putManifest(
    reference: string,
    bytes: Buffer | string,
    type = OCI_MANIFEST,
    repository = 'team/app',
  ): Promise<Answer> {
    const headers = { 'content-type': type };
    const target = `/v2/${repository}/manifests/${reference}`;
    return this.ask(target, { method: 'PUT', headers, body: bytes });
  }

  /** Sends bytes as they are, then, when told so, closes; everything that comes back. */
  async raw(bytes: Buffer | string, cut = false): Promise<string> {
    const { hostname, port } = new URL(this.url);
    const socket = connect(Number(port), hostname);
    const parts: Buffer[] = [];
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('close', () => resolve(Buffer.concat(parts).toString('latin1')));
    socket.on('error', () => {});
    socket.setTimeout(RAW_TIMEOUT_MS, () => reject(new Error('the hub keeps silent')));
    socket.write(bytes, () => {
      if (cut) socket.destroy();
    });
    return promise;
  }

  async metric(name: string): Promise<number> {
    const { body } = await this.ask(`${this.opsUrl}/metrics`);
    const lines = body.toString().split('\n');
    const found = lines.filter((line) => line.startsWith(`flotilla_hub_${name}`));
    return found.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  get hub(): Hub {
    return this.#hub;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
    await this.#hub.close();
    if (!this.#keep) await rm(this.folder, { recursive: true, force: true });
  }
}

function bodyOf(body: NonNullable<Ask['body']>): Buffer | string | Readable {
  return typeof body === 'string' || Buffer.isBuffer(body) ? body : Readable.from(body);
}

export function locationOf(answer: Answer): string {
  const { location } = answer.headers;
  assert.equal(typeof location, 'string', 'an answer with Location');
  return String(location);
}

export function withDigest(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`;
}

/** The code of an OCI error body; fails when the answer is none. */
export function errorCode(answer: Answer): string {
  assert.match(String(answer.headers['content-type']), /^application\/json\b/);
  const body: { errors?: { code?: string; message?: string }[] } = JSON.parse(
    answer.body.toString(),
  );
  const [first] = body.errors ?? [];
  assert.ok(first?.message !== undefined && first.message !== '', 'an error says something');
  return first.code ?? '';
}

/** Fails unless the answer is an OCI error with this status and code. */
export function assertRefused(answer: Answer, status: number, code: string): void {
  assert.deepEqual(
    { status: answer.status, code: errorCode(answer) },
    { status, code },
    answer.body.toString(),
  );
}
