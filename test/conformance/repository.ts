import { digestAlgorithm, type Digest } from '../../proto/oci/digest.ts';
import {
  describeAnswer,
  expectBody,
  expectHeader,
  expectHeaderIfAny,
  expectStatus,
  headerOf,
  locationOf,
  withParameter,
  type Answer,
} from './answer.ts';
import { fail, inOrder, skip } from './check.ts';
import { emptyJson, imageOf, randomBlob, type Blob, type Manifest } from './content.ts';
import type { Ask, RegistryHttp } from './registry-http.ts';

const OCTETS = 'application/octet-stream';
const LAYER_BYTES = 300;
/** Chunks smaller than this test nothing. */
const CHUNK_BYTES = 200;

/** An open upload. */
export type Upload = {
  location: URL;
  /** Least bytes of a chunk that is not the last one. */
  chunkBytes: number;
};

/** One repository of the registry; each method is a request or a few. */
export class Repository {
  readonly http: RegistryHttp;
  readonly name: string;

  constructor(http: RegistryHttp, name: string) {
    this.http = http;
    this.name = name;
  }

  /** Asks for what is below the name, such as `tags/list`. */
  ask(tail: string, ask: Ask = {}): Promise<Answer> {
    return this.http.ask(`/v2/${this.name}/${tail}`, ask);
  }

  head(tail: string): Promise<Answer> {
    return this.ask(tail, { method: 'HEAD' });
  }

  erase(tail: string): Promise<Answer> {
    return this.ask(tail, { method: 'DELETE' });
  }

  /** POST of an upload without a body; `query` with its question mark. */
  post(query = ''): Promise<Answer> {
    const headers = { 'content-length': '0' };
    return this.ask(`blobs/uploads/${query}`, { method: 'POST', headers });
  }

  async open(query = ''): Promise<Upload> {
    const answer = await this.post(query);
    expectStatus(answer, 202);
    const least = Number(headerOf(answer, 'oci-chunk-min-length') ?? 0);
    return { location: locationOf(answer), chunkBytes: Math.max(CHUNK_BYTES, least) };
  }

  /** PATCH with a chunk, or with a stream when `start` is left out. */
  patch({ location }: Upload, body: NonNullable<Ask['body']>, start?: number): Promise<Answer> {
    return this.http.ask(location, {
      method: 'PATCH',
      headers: { 'content-type': OCTETS, ...rangeHeader(body, start) },
      body,
    });
  }

  /** PUT with the last bytes, if any, and the digest. */
  put({ location }: Upload, digest: string, body: Buffer = Buffer.alloc(0), start?: number) {
    return this.http.ask(withParameter(location, 'digest', digest), {
      method: 'PUT',
      headers: { 'content-type': OCTETS, ...rangeHeader(body, start) },
      body,
    });
  }

  /** Pushes a blob by POST and PUT. */
  async push(blob: Blob): Promise<void> {
    await this.created(await this.put(await this.open(), blob.digest, blob.bytes), blob);
  }

  async pushAll(blobs: readonly Blob[]): Promise<void> {
    await inOrder(blobs, (blob) => this.push(blob));
  }

  /** Fails unless the answer to the end of an upload is right, and the blob can be pulled. */
  async created(answer: Answer, { digest, bytes }: Blob): Promise<void> {
    expectStatus(answer, 201);
    expectHeaderIfAny(answer, 'docker-content-digest', digest);
    const pulled = await this.http.ask(locationOf(answer));
    expectStatus(pulled, 200);
    expectBody(pulled, bytes);
  }

  async expectBlobAbsent({ digest }: Blob): Promise<void> {
    expectStatus(await this.ask(`blobs/${digest}`), 404);
    expectStatus(await this.head(`blobs/${digest}`), 404);
  }

  putManifest(
    reference: string,
    { bytes, mediaType }: Pick<Manifest, 'bytes' | 'mediaType'>,
    type = mediaType,
  ): Promise<Answer> {
    const headers = { 'content-type': type };
    return this.ask(`manifests/${reference}`, { method: 'PUT', headers, body: bytes });
  }

  /** Pushes a manifest whose parts are here, and looks at the answer. */
  async pushManifest(manifest: Manifest, reference: string = manifest.digest): Promise<Answer> {
    const answer = await this.putManifest(reference, manifest);
    expectStatus(answer, 201);
    expectHeaderIfAny(answer, 'docker-content-digest', manifest.digest);
    const { subject } = manifest.fields;
    if (subject !== undefined) expectHeader(answer, 'oci-subject', subject.digest);
    expectManifest(await this.http.ask(locationOf(answer)), manifest);
    return answer;
  }

  /** Pushes an image of random content under these tags. */
  async pushImage(tags: readonly string[] = []): Promise<Manifest & { layer: Blob }> {
    const layer = randomBlob(LAYER_BYTES);
    const image = imageOf(emptyJson(), [layer]);
    await this.pushAll([emptyJson(), layer]);
    if (tags.length === 0) await this.pushManifest(image);
    await inOrder(tags, async (tag) => void (await this.pushManifest(image, tag)));
    return { ...image, layer };
  }

  /** Deletes; skips the check when the registry has deletion of this kind switched off. */
  async eraseOrSkip(tail: string): Promise<void> {
    const answer = await this.erase(tail);
    if (answer.status === 400 || answer.status === 405) {
      skip(`deletion is not offered: ${describeAnswer(answer)}`);
    }
    expectStatus(answer, 202);
  }
}

/** Fails unless the answer is this manifest, byte for byte. */
export function expectManifest(answer: Answer, { bytes, mediaType, digest }: Manifest): void {
  expectStatus(answer, 200);
  expectBody(answer, bytes);
  const type = expectHeader(answer, 'content-type');
  if (type.split(';', 1)[0]?.trim() !== mediaType) fail(`Content-Type ${type}, not ${mediaType}`);
  expectDigestHeader(answer, digest);
}

/** The header may name the digest of another algorithm. */
export function expectDigestHeader(answer: Answer, digest: Digest): void {
  const value = headerOf(answer, 'docker-content-digest');
  if (value?.startsWith(`${digestAlgorithm(digest)}:`) !== true) return;
  expectHeader(answer, 'docker-content-digest', digest);
}

function rangeHeader(
  body: NonNullable<Ask['body']>,
  start: number | undefined,
): Record<string, string> {
  if (start === undefined || !Buffer.isBuffer(body)) return {};
  return { 'content-range': `${start}-${start + body.length - 1}` };
}
