import { discard, headerOf } from '../../proto/distribution/body.ts';
import { digestAlgorithm, type Digest } from '../../proto/oci/digest.ts';
import { parseUploadRange } from '../../proto/oci/ranges.ts';
import { AdminError, isPassing } from '../../proto/ops/join-token-request.ts';
import { RESUMED_UPLOAD_MIN_BYTES } from './constants.ts';
import type { HubRegistry } from './hub-registry.ts';
import { isBusy, patiently, type Outage } from './patience.ts';
import type { RememberedUploads } from './remembered-uploads.ts';

export type PushedBlob = { repository: string; digest: Digest; size: number };

type Modules = {
  registry: Pick<HubRegistry, 'send' | 'refusal'>;
  uploads: Pick<RememberedUploads, 'find' | 'put' | 'remove'>;
  onBytes: (count: number) => void;
  outage: Outage;
};
type Signalled = { signal: AbortSignal };
type Source = (start: number) => AsyncIterable<Buffer>;

const NO_BODY = { 'content-length': '0' };

/** Pushes what a bundle has. A large blob that was half sent is gone on with. */
export class HubPusher {
  readonly #modules: Modules;
  readonly #resumedMinBytes: number;

  constructor(options: { resumedMinBytes?: number }, modules: Modules) {
    this.#resumedMinBytes = options.resumedMinBytes ?? RESUMED_UPLOAD_MIN_BYTES;
    this.#modules = modules;
  }

  /** Links a blob that another repository has; false when that cannot be. */
  mount(blob: PushedBlob, from: string | undefined, { signal }: Signalled): Promise<boolean> {
    const { registry, outage } = this.#modules;
    const source = from === undefined ? '' : `&from=${encodeURIComponent(from)}`;
    const path = `/v2/${blob.repository}/blobs/uploads/?mount=${blob.digest}${source}`;
    return patiently(
      async () => {
        const wish = { method: 'POST', path, headers: NO_BODY, signal } as const;
        const answer = await registry.send(wish);
        if (answer.statusCode !== 201 && answer.statusCode !== 202) {
          throw await registry.refusal(answer);
        }
        await discard(answer);
        if (answer.statusCode === 201) return true;
        await this.#cancel(headerOf(answer, 'location'), signal);
        return false;
      },
      { signal, outage },
    );
  }

  /** Sends a blob. @throws AdminError; what reading the source throws */
  async push(blob: PushedBlob, source: Source, { signal }: Signalled): Promise<void> {
    const { uploads, outage } = this.#modules;
    const key = `${blob.repository} ${blob.digest}`;
    const isLarge = blob.size >= this.#resumedMinBytes;
    let location = isLarge ? uploads.find(key) : undefined;
    await patiently(
      async () => {
        let at = location === undefined ? undefined : await this.#progress(location, blob, signal);
        if (location === undefined || at === undefined) {
          location = await this.#open(blob, signal);
          at = 0;
          if (isLarge) await uploads.put(key, location);
        }
        if (at < blob.size) {
          // What comes of it is asked when it fails: the hub has kept what it got.
          location = await this.#send(location, { blob, at, source }, signal);
        }
        await this.#finish(location, blob, signal);
      },
      { signal, outage },
    ).catch(async (err: unknown) => {
      // What it refused for good is begun anew the next time.
      if (isFinal(err)) await uploads.remove(key);
      throw err;
    });
    await uploads.remove(key);
  }

  /** Puts a manifest under its digest or a tag. @throws AdminError */
  async putManifest(
    repository: string,
    reference: string,
    { bytes, mediaType }: { bytes: Buffer; mediaType: string },
    { signal }: Signalled,
  ): Promise<void> {
    const { registry, outage } = this.#modules;
    const path = `/v2/${repository}/manifests/${reference}`;
    const headers = { 'content-type': mediaType };
    await patiently(
      async () => {
        const answer = await registry.send({ method: 'PUT', path, headers, body: bytes, signal });
        if (answer.statusCode !== 201) throw await registry.refusal(answer);
        await discard(answer);
      },
      { signal, outage },
    );
  }

  async #open({ repository, digest }: PushedBlob, signal: AbortSignal): Promise<string> {
    const { registry } = this.#modules;
    const algorithm = digestAlgorithm(digest);
    const path = `/v2/${repository}/blobs/uploads/?digest-algorithm=${algorithm}`;
    const answer = await registry.send({ method: 'POST', path, headers: NO_BODY, signal });
    if (answer.statusCode !== 202) throw await registry.refusal(answer);
    await discard(answer);
    return headerOf(answer, 'location');
  }

  /** How much the hub has of an upload; undefined when it is to be begun anew. */
  async #progress(
    location: string,
    { size }: PushedBlob,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { registry } = this.#modules;
    const answer = await registry.send({ method: 'GET', path: location, signal });
    const { statusCode: status } = answer;
    if (status !== 204 && status !== 404) throw await registry.refusal(answer);
    await discard(answer);
    if (status === 404) return undefined;
    const range = parseUploadRange(headerOf(answer, 'range'));
    // No byte and one byte look the same.
    if (range !== undefined && range.end > 1 && range.end <= size) return range.end;
    await this.#cancel(location, signal);
    return undefined;
  }

  async #send(
    location: string,
    { blob, at, source }: { blob: PushedBlob; at: number; source: Source },
    signal: AbortSignal,
  ): Promise<string> {
    const { registry, onBytes } = this.#modules;
    const body = async function* body(): AsyncGenerator<Buffer> {
      for await (const slice of source(at)) {
        onBytes(slice.length);
        // Whoever sends it may still hold the one before.
        yield Buffer.from(slice);
      }
    };
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(blob.size - at),
      'content-range': `${at}-${blob.size - 1}`,
    };
    const wish = { method: 'PATCH', path: location, headers, body: body(), signal } as const;
    const answer = await registry.send(wish);
    if (answer.statusCode !== 202) throw await registry.refusal(answer);
    await discard(answer);
    return headerOf(answer, 'location') || location;
  }

  async #finish(location: string, { digest }: PushedBlob, signal: AbortSignal): Promise<void> {
    const { registry } = this.#modules;
    const path = `${location}${location.includes('?') ? '&' : '?'}digest=${digest}`;
    const answer = await registry.send({ method: 'PUT', path, headers: NO_BODY, signal });
    if (answer.statusCode !== 201) throw await registry.refusal(answer);
    await discard(answer);
  }

  /** An upload that nobody goes on with. It would go by itself, later. */
  async #cancel(location: string, signal: AbortSignal): Promise<void> {
    const { registry } = this.#modules;
    await discard(await registry.send({ method: 'DELETE', path: location, signal }));
  }
}

function isFinal(err: unknown): boolean {
  return err instanceof AdminError && err.code === 'HUB_REFUSED' && !isPassing(err) && !isBusy(err);
}
