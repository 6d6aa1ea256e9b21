// The clients of the bench in a process of their own: a job comes in, its result goes out.
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { Pool, type Dispatcher } from 'undici';
import { messageOf } from '../../proto/std/errors.ts';
import type { Job, JobAnswer, JobResult, Target } from './load.ts';

const MIB = 1024 * 1024;
const TIMEOUT_MS = 60_000;
const SMALL_BLOB_BYTES = 1024;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCTETS = 'application/octet-stream';

type Of<K extends Job['kind']> = Extract<Job, { kind: K }>;

/** Requests over connections that are kept. */
class Connections implements AsyncDisposable {
  readonly #pool: Pool;
  readonly #origin: string;
  readonly #headers: Record<string, string>;

  constructor({ url, authorization }: Target, connections: number) {
    this.#origin = url;
    this.#pool = new Pool(url, { connections, pipelining: 1, bodyTimeout: TIMEOUT_MS });
    this.#headers = authorization === undefined ? {} : { authorization };
  }

  /** One request whose answer is read and forgotten; as little work as there can be. */
  ask(method: Dispatcher.HttpMethod, path: string, accept = '*/*'): Promise<void> {
    return new Promise((resolve, reject) => {
      const headers = { ...this.#headers, accept };
      let status = 0;
      this.#pool.dispatch(
        // Undici ends a connection after HEAD unless told not to.
        { method, path, headers, reset: false },
        {
          onRequestStart: () => {},
          onResponseStart: (_controller, code) => void (status = code),
          onResponseData: () => {},
          onResponseEnd: () => {
            if (status === 200) resolve();
            else reject(new Error(`${method} ${path}: ${status}`));
          },
          onResponseError: (_controller, err) => reject(err),
        },
      );
    });
  }

  /** Returns where the answer points to. */
  async send(
    method: Dispatcher.HttpMethod,
    target: string,
    what: { status: number; body?: Buffer | Readable; length?: number; type?: string },
  ): Promise<string> {
    const { body = Buffer.alloc(0), type = OCTETS } = what;
    const length = what.length ?? (Buffer.isBuffer(body) ? body.length : 0);
    const path = target.startsWith(this.#origin) ? target.slice(this.#origin.length) : target;
    const headers = {
      ...this.#headers,
      'content-type': type,
      'content-length': String(length),
    };
    const answer = await this.#pool.request({ method, path, headers, body });
    const text = await answer.body.text();
    if (answer.statusCode !== what.status) {
      throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 200)}`);
    }
    const location = answer.headers['location'];
    return typeof location === 'string' ? location : '';
  }

  /** Begins an upload and sends all of it with its end. */
  async pushBlob(repository: string, body: Buffer, digest: string): Promise<void> {
    const location = await this.send('POST', `/v2/${repository}/blobs/uploads/`, { status: 202 });
    await this.send('PUT', withDigest(location, digest), { status: 201, body });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
  }
}

function withDigest(location: string, digest: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Runs `task` `count` times, up to `width` at once. */
async function many(count: number, width: number, task: (at: number) => Promise<void>) {
  let next = 0;
  const worker = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop -- each worker does one after the other
    while (next < count) await task(next++);
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: width }, worker));
  return { count, seconds: (performance.now() - started) / 1000 };
}

async function repeat(job: Of<'repeat'>): Promise<JobResult> {
  await using connections = new Connections(job.target, job.connections);
  const end = performance.now() + job.seconds * 1000;
  let count = 0;
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (performance.now() < end) {
      // oxlint-disable-next-line no-await-in-loop -- each connection has one request at a time
      await connections.ask(job.method, job.path, job.accept);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: job.connections }, worker));
  return { count, seconds: (performance.now() - started) / 1000 };
}

function smallImage(name: string): {
  blobs: { bytes: Buffer; digest: string }[];
  manifest: Buffer;
} {
  const blobs = ['config', 'layer'].map((part) => {
    const bytes = Buffer.alloc(SMALL_BLOB_BYTES, `${name} ${part} `);
    return { bytes, digest: digestOf(bytes) };
  });
  const types = [
    'application/vnd.oci.image.config.v1+json',
    'application/vnd.oci.image.layer.v1.tar',
  ];
  const [config, layer] = blobs.map(({ bytes, digest }, at) => ({
    mediaType: types[at],
    digest,
    size: bytes.length,
  }));
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] };
  return { blobs, manifest: Buffer.from(JSON.stringify(manifest)) };
}

async function smallPushes(job: Of<'small-pushes'>): Promise<JobResult> {
  const { repositories, seed, count, connections: width } = job;
  const images = Array.from({ length: count }, (_, at) => smallImage(`${seed} ${at}`));
  await using connections = new Connections(job.target, width);
  const result = await many(count, width, async (at) => {
    const repository = repositories[at % repositories.length] ?? '';
    const { blobs = [], manifest = Buffer.alloc(0) } = images[at] ?? {};
    for (const { bytes, digest } of blobs) {
      // oxlint-disable-next-line no-await-in-loop -- a client pushes the manifest last
      await connections.pushBlob(repository, bytes, digest);
    }
    const what = { status: 201, body: manifest, type: MANIFEST };
    await connections.send('PUT', `/v2/${repository}/manifests/${seed}-${at}`, what);
  });
  return result;
}

/** Content of any size out of one block, of which every copy begins with its own number. */
function* content(seed: string, bytes: number): Generator<Buffer> {
  const block = createHash('shake256', { outputLength: MIB }).update(seed).digest();
  for (let at = 0; at < bytes; at += MIB) {
    const copy = Buffer.from(block);
    copy.writeDoubleBE(at);
    yield copy.subarray(0, Math.min(MIB, bytes - at));
  }
}

async function pushBlobs(job: Of<'blobs'>): Promise<JobResult> {
  const { repository, bytes, count, seed } = job;
  const seeds = Array.from({ length: count }, (_, at) => `${seed} ${at}`);
  const digests = seeds.map((one) => {
    const hash = createHash('sha256');
    for (const block of content(one, bytes)) hash.update(block);
    return `sha256:${hash.digest('hex')}`;
  });
  await using connections = new Connections(job.target, 1);
  const result = await many(count, 1, async (at) => {
    const uploads = `/v2/${repository}/blobs/uploads/`;
    const location = await connections.send('POST', uploads, { status: 202 });
    const body = Readable.from(content(seeds[at] ?? '', bytes), { objectMode: false });
    const next = await connections.send('PATCH', location, { status: 202, body, length: bytes });
    await connections.send('PUT', withDigest(next, digests[at] ?? ''), { status: 201 });
  });
  return { ...result, digest: digests[0] ?? '' };
}

function sha256({ bytes }: Of<'sha256'>): JobResult {
  const blocks = [...content('sha256', 8 * MIB)];
  const hash = createHash('sha256');
  const before = process.cpuUsage();
  for (let at = 0; at * MIB < bytes; at++) hash.update(blocks[at % blocks.length] ?? '');
  hash.digest();
  const { user, system } = process.cpuUsage(before);
  return { count: 1, seconds: (user + system) / 1e6 };
}

async function run(job: Job): Promise<JobResult> {
  if (job.kind === 'repeat') return repeat(job);
  if (job.kind === 'small-pushes') return smallPushes(job);
  return job.kind === 'blobs' ? pushBlobs(job) : sha256(job);
}

process.on('message', (job: Job) => {
  run(job).then(
    (result): void => void process.send?.(result satisfies JobAnswer),
    (err: unknown): void => void process.send?.({ error: messageOf(err) } satisfies JobAnswer),
  );
});
process.once('disconnect', () => process.exit(0));
