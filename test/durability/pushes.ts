// Pushes images to a hub that may die at any time, and remembers what it promised.
import { Readable } from 'node:stream';
import { request, type Dispatcher } from 'undici';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { AUTHORIZATION } from './hub-process.ts';

const SLICE_BYTES = 64 * 1024;
const LAYER_MAX_BYTES = 3 * 1024 * 1024;

/** What a hub was asked to store, and what of it was answered with 201. */
export class Ledger {
  /** All blobs ever sent, in whole or in part. */
  readonly sent = new Map<Digest, Buffer>();
  readonly stored = new Set<Digest>();
  /** What a tag may name: what was promised last, and what was sent after it. */
  readonly tags = new Map<string, { promised?: Digest; sent: Digest[] }>();
}

export type PushOptions = {
  url: string;
  repository: string;
  tag: string;
  random: () => number;
  ledger: Ledger;
  dispatcher: Dispatcher;
  /** Called at every step of every request. */
  step: () => void;
};

/** Pushes one image; rejects when the hub dies. */
export async function pushImage(options: PushOptions): Promise<void> {
  const config = await pushBlob(Buffer.from(JSON.stringify({ n: options.random() })), options);
  const layer = await pushBlob(randomBytes(options.random), options);
  const descriptor = (digest: Digest) => ({
    mediaType: 'application/octet-stream',
    digest,
    size: options.ledger.sent.get(digest)?.length,
  });
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: descriptor(config),
      layers: [descriptor(layer)],
    }),
  );
  await putManifest(bytes, options);
}

function randomBytes(random: () => number): Buffer {
  const bytes = Buffer.alloc(1 + Math.floor(random() ** 3 * LAYER_MAX_BYTES), random());
  for (let at = 0; at + 4 <= bytes.length; at += 4096) bytes.writeUInt32LE(random() * 2 ** 32, at);
  return bytes;
}

async function pushBlob(bytes: Buffer, options: PushOptions): Promise<Digest> {
  const { url, repository, ledger, random } = options;
  const digest = digestOf(bytes);
  ledger.sent.set(digest, bytes);
  const opened = await ask(`${url}/v2/${repository}/blobs/uploads/`, 'POST', options);
  let location = new URL(opened.location, url);
  let rest = bytes;
  if (random() < 0.5) {
    const cut = Math.floor(bytes.length * random());
    const patched = await ask(location, 'PATCH', options, bytes.subarray(0, cut));
    location = new URL(patched.location, url);
    rest = bytes.subarray(cut);
  }
  location.searchParams.set('digest', digest);
  const { status } = await ask(location, 'PUT', options, rest);
  if (status !== 201) throw new Error(`the hub answers ${status} to a blob`);
  ledger.stored.add(digest);
  return digest;
}

async function putManifest(bytes: Buffer, options: PushOptions): Promise<void> {
  const { url, repository, tag, ledger } = options;
  const digest = digestOf(bytes);
  const name = `${repository}:${tag}`;
  const known = ledger.tags.get(name) ?? { sent: [] };
  known.sent.push(digest);
  ledger.tags.set(name, known);
  const target = `${url}/v2/${repository}/manifests/${tag}`;
  const { status } = await ask(target, 'PUT', options, bytes, OCI_MANIFEST);
  if (status !== 201) throw new Error(`the hub answers ${status} to a manifest`);
  ledger.tags.set(name, { promised: digest, sent: [] });
}

async function ask(
  target: string | URL,
  method: 'POST' | 'PATCH' | 'PUT',
  { step, dispatcher }: PushOptions,
  bytes: Buffer = Buffer.alloc(0),
  type = 'application/octet-stream',
): Promise<{ status: number; location: string }> {
  step();
  const body = Readable.from(slices(bytes, step));
  const headers = {
    authorization: AUTHORIZATION,
    'content-type': type,
    'content-length': String(bytes.length),
  };
  const response = await request(target, { method, headers, body, dispatcher });
  await response.body.dump();
  step();
  const { location } = response.headers;
  return { status: response.statusCode, location: typeof location === 'string' ? location : '' };
}

function* slices(bytes: Buffer, step: () => void): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    yield bytes.subarray(at, at + SLICE_BYTES);
    step();
  }
}
