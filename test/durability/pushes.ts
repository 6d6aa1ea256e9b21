// What clients do to a hub that may die at any time: one of them, who remembers what it was told.
import { Readable } from 'node:stream';
import { request, type Dispatcher } from 'undici';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { AUTHORIZATION } from './hub-process.ts';
import type { Image, Ledger, SentBlob } from './ledger.ts';

const MIB = 1024 * 1024;
const SLICE_BYTES = 64 * 1024;
const LAYER_MAX_BYTES = MIB;
/** A few layers are so large that a bucket takes them in parts. */
const LARGE = { share: 0.03, min: 8 * MIB, max: 18 * MIB };
/** Layers that many images have. */
const SHARED = { count: 6, share: 0.25, seed: 77 };
/** Layers of an image that the client has pushed before. */
const AGAIN_SHARE = 0.3;
/** Images that a client keeps. */
const KEPT_MAX = 5;
const TAGS = 3;
/** A hub may take a blob away under a push once; a client starts again so often. */
const TRIES_MAX = 5;
/** How long a collection is sure to leave a blob alone that no manifest names. */
export const SURE_MS = 12_000;

export const REPOSITORIES = ['team/app-0', 'team/app-1', 'team/app-2'] as const;

/** The hub answered something that it should not. */
export class Refusal extends Error {}

/** The hub said that it does not serve now. */
export class Unavailable extends Error {}

export type ClientOptions = {
  url: string;
  /** Tells clients apart. */
  number: number;
  random: () => number;
  ledger: Ledger;
  dispatcher: Dispatcher;
  /** Called at every step of every request. */
  step: () => void;
};

type Answer = { status: number; location: string; text: string };
type Ask = { method: 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'; body?: Buffer; type?: string };

/** Numbers in [0, 1), the same for the same seed. */
export function randomOf(seed: number): () => number {
  let state = Math.imul(seed, 2654435761);
  return () => {
    state = Math.imul(state ^ (state >>> 15), 2246822519) + 1013904223;
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
  };
}

/** One client. It rejects when the hub dies, or answers what it should not. */
export class Client {
  readonly #options: ClientOptions;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Does one thing: pushes an image, deletes one, or a tag. */
  async act(): Promise<void> {
    const { random } = this.#options;
    const own = this.#own();
    const [oldest] = own;
    if (oldest !== undefined && (own.length > KEPT_MAX || random() < 0.1)) {
      return this.#delete(oldest);
    }
    if (random() < 0.08) return this.#untag();
    return this.push();
  }

  /** Gives up uploads of this list that clients of a former life of the hub did not end. */
  async giveUp(left: string[]): Promise<void> {
    for (let path = left.pop(); path !== undefined; path = left.pop()) {
      const { status, text } = await this.#ask(path, { method: 'DELETE' });
      if (status !== 204 && status !== 404) {
        throw new Refusal(`the hub answers ${status} to who gives up an upload: ${text}`);
      }
      this.#options.ledger.uploads.delete(path);
    }
  }

  /** Images that it pushed and has not deleted, the oldest first. */
  #own(): Image[] {
    const { ledger, number } = this.#options;
    return [...ledger.images.values()].filter(
      ({ by, state }) => by === number && state === 'stored',
    );
  }

  /** Pushes an image under one of its tags. */
  async push(): Promise<void> {
    const { random, number, ledger } = this.#options;
    const repository = REPOSITORIES[Math.floor(random() * REPOSITORIES.length)] ?? '';
    const config = Buffer.from(JSON.stringify({ n: random(), by: number }));
    const layers = Array.from({ length: 1 + Math.floor(random() * 2) }, () => this.#layer());
    const name = `tag-${number}-${Math.floor(random() * TAGS)}`;
    const parts = [config, ...layers];
    const startedMs = Date.now();
    for (let tries = 1; ; tries += 1) {
      for (const part of parts) await this.#blob(repository, part);
      const { image, tag } = ledger.sendImage(imageOf(repository, parts, number), name);
      const { status, text } = await this.#ask(`${repository}/manifests/${name}`, {
        method: 'PUT',
        body: image.bytes,
        type: OCI_MANIFEST,
      });
      if (status === 201) {
        image.state = 'stored';
        tag.may = new Set([image.digest]);
        ledger.acknowledged.manifests += 1;
        return;
      }
      const late = Date.now() - startedMs > SURE_MS;
      if (status === 404 && late && tries < TRIES_MAX) continue;
      throw new Refusal(`the hub answers ${status} to a manifest: ${text}`);
    }
  }

  #layer(): Buffer {
    const { random, ledger } = this.#options;
    if (random() < AGAIN_SHARE) {
      const [image] = this.#own();
      const known = image && ledger.bytes.get(image.blobs[1] ?? image.digest);
      if (known !== undefined) return known;
    }
    if (random() < SHARED.share) {
      const own = randomOf(SHARED.seed + Math.floor(random() * SHARED.count));
      return noise(own, 1 + Math.floor(own() * LAYER_MAX_BYTES));
    }
    const { share, min, max } = LARGE;
    if (random() < share) return noise(random, min + Math.floor(random() * (max - min)));
    return noise(random, 1 + Math.floor(random() ** 3 * LAYER_MAX_BYTES));
  }

  /** Sees that a repository has a blob, in one of the ways clients have. */
  async #blob(repository: string, bytes: Buffer): Promise<void> {
    const { random, ledger } = this.#options;
    for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
      const sent = ledger.sendBlob(repository, bytes);
      const way = random();
      if (way < 0.2) {
        const head = await this.#ask(`${repository}/blobs/${sent.digest}`, { method: 'HEAD' });
        if (head.status === 200) return this.#stored(sent);
      }
      const { status, text } = await this.#send(sent, bytes, way);
      if (status === 201) return this.#stored(sent);
      // A collection took the bytes away while they came again.
      if (status !== 503) throw new Refusal(`the hub answers ${status} to a blob: ${text}`);
    }
    throw new Refusal('a blob never got through');
  }

  async #send({ repository, digest }: SentBlob, bytes: Buffer, way: number): Promise<Answer> {
    const { ledger } = this.#options;
    const uploads = `${repository}/blobs/uploads/`;
    if (way > 0.8) return this.#ask(`${uploads}?digest=${digest}`, { method: 'POST', body: bytes });
    let { status, location, text } = { status: 0, location: '', text: '' };
    if (way > 0.55) {
      // From whichever repository has it.
      const mount = `${uploads}?mount=${digest}`;
      ({ status, location, text } = await this.#ask(mount, { method: 'POST' }));
      if (status === 201) {
        ledger.acknowledged.mounts += 1;
        return { status, location, text };
      }
    } else ({ status, location, text } = await this.#ask(uploads, { method: 'POST' }));
    if (status !== 202) return { status, location, text };
    const path = location.replace(/^https?:\/\/[^/]+/, '');
    ledger.uploads.add(path);
    const done = await this.#fill(location, digest, bytes);
    ledger.uploads.delete(path);
    return done;
  }

  async #fill(begun: string, digest: Digest, bytes: Buffer): Promise<Answer> {
    const { random } = this.#options;
    let location = begun;
    let at = 0;
    for (let cuts = Math.floor(random() * 3); cuts > 0; cuts -= 1) {
      const cut = at + Math.floor((bytes.length - at) * random());
      const patched = await this.#ask(location, { method: 'PATCH', body: bytes.subarray(at, cut) });
      if (patched.status !== 202) return patched;
      ({ location } = patched);
      at = cut;
    }
    const last = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
    return this.#ask(last, { method: 'PUT', body: bytes.subarray(at) });
  }

  #stored(blob: SentBlob): void {
    blob.storedMs = Date.now();
    this.#options.ledger.acknowledged.blobs += 1;
  }

  async #delete(image: Image): Promise<void> {
    const { ledger } = this.#options;
    const tags = ledger.tagsOf(image);
    image.state = 'deleting';
    for (const { may } of tags) may.add(undefined);
    const target = `${image.repository}/manifests/${image.digest}`;
    const { status, text } = await this.#ask(target, { method: 'DELETE' });
    if (status !== 202) throw new Refusal(`the hub answers ${status} to a delete: ${text}`);
    image.state = 'deleted';
    for (const { may } of tags) may.delete(image.digest);
    ledger.acknowledged.deletes += 1;
  }

  async #untag(): Promise<void> {
    const { random, number, ledger } = this.#options;
    const own = [...ledger.tags.values()].filter(
      ({ name, may }) => name.startsWith(`tag-${number}-`) && !may.has(undefined),
    );
    const tag = own[Math.floor(random() * own.length)];
    if (tag === undefined) return;
    tag.may.add(undefined);
    const target = `${tag.repository}/manifests/${tag.name}`;
    const { status, text } = await this.#ask(target, { method: 'DELETE' });
    if (status !== 202) throw new Refusal(`the hub answers ${status} to an untag: ${text}`);
    tag.may = new Set([undefined]);
    ledger.acknowledged.deletes += 1;
  }

  async #ask(target: string, { method, body = Buffer.alloc(0), type }: Ask): Promise<Answer> {
    const { step, dispatcher, url } = this.#options;
    step();
    const bare = method === 'HEAD' || method === 'DELETE';
    const headers = {
      authorization: AUTHORIZATION,
      ...(bare ? {} : { 'content-length': String(body.length) }),
      'content-type': type ?? 'application/octet-stream',
    };
    const response = await request(new URL(target, `${url}/v2/`), {
      method,
      headers,
      dispatcher,
      ...(bare ? {} : { body: Readable.from(slices(body, step)) }),
    });
    const { statusCode: status } = response;
    const text = await response.body.text();
    step();
    const { location, 'retry-after': later } = response.headers;
    if (status === 503) {
      if (!(Number(later) > 0)) throw new Refusal('503 without Retry-After');
      if (!/was removed while|being removed/.test(text)) throw new Unavailable(text);
    }
    return { status, text, location: typeof location === 'string' ? location : '' };
  }
}

function imageOf(
  repository: string,
  parts: readonly Buffer[],
  by: number,
): Omit<Image, 'digest' | 'state'> {
  const mediaType = 'application/octet-stream';
  const descriptors = parts.map((part) => {
    return { mediaType, digest: digestOf(part), size: part.length };
  });
  const [config, ...layers] = descriptors;
  const image = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers };
  const blobs = descriptors.map(({ digest }) => digest);
  return { repository, by, bytes: Buffer.from(JSON.stringify(image)), blobs };
}

function noise(random: () => number, size: number): Buffer {
  const bytes = Buffer.alloc(size, Math.floor(random() * 256));
  for (let at = 0; at + 4 <= size; at += 4096) bytes.writeUInt32LE(random() * 2 ** 32, at);
  return bytes;
}

function* slices(bytes: Buffer, step: () => void): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    yield bytes.subarray(at, at + SLICE_BYTES);
    step();
  }
}
