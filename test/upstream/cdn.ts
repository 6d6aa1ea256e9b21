import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import { parseRange } from '../../proto/oci/ranges.ts';
import type { Blob } from './content.ts';
import type { Faults } from './faults.ts';
import type { Entry } from './request-log.ts';
import { sendContent, sendStatus } from './send.ts';

const URL_SECONDS = 1200;

/** Where the bytes are: a host that knows no tokens, only addresses signed for a while. */
export class Cdn {
  readonly #now: () => number;
  readonly #blobs: ReadonlyMap<string, Blob>;
  readonly #faults: Faults;
  readonly #key = randomBytes(32);

  constructor(
    options: { now: () => number },
    modules: { blobs: ReadonlyMap<string, Blob>; faults: Faults },
  ) {
    this.#now = options.now;
    this.#blobs = modules.blobs;
    this.#faults = modules.faults;
  }

  /** Path and query of a blob, good for twenty minutes. */
  signedPath(digest: Digest): string {
    const hex = digest.slice(digest.indexOf(':') + 1);
    const path = `/registry-v2/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
    const until = String(Math.floor(this.#now() / 1000) + URL_SECONDS);
    const signature = this.#sign(path, until).toString('hex');
    return `${path}?${new URLSearchParams({ expires: until, signature }).toString()}`;
  }

  async answer(request: IncomingMessage, response: ServerResponse, entry: Entry): Promise<void> {
    const url = new URL(entry.path, 'http://cdn');
    const digest = `sha256:${url.pathname.split('/').at(-2)}`;
    const blob = this.#blobs.get(digest);
    entry.kind = 'blob';
    if (entry.method !== 'GET' && entry.method !== 'HEAD') {
      sendStatus(response, entry, 405);
      return;
    }
    // As object stores do it: an address that is signed is one way to log in, a header another.
    if (entry.authorized) {
      sendStatus(response, entry, 400, { code: 'InvalidArgument', message: 'two ways to log in' });
      return;
    }
    if (!this.#isSigned(url) || blob === undefined || !isDigest(digest)) {
      sendStatus(response, entry, 403, { code: 'AccessDenied' });
      return;
    }
    entry.digest = digest;
    const asked = parseRange(request.headers.range, blob.size);
    if (asked.kind === 'unsatisfiable') {
      sendStatus(response, entry, 416, { headers: { 'content-range': `bytes */${blob.size}` } });
      return;
    }
    const fault = this.#faults.take('cdn', { kind: 'blob', names: [digest], method: entry.method });
    const headers = { 'content-type': 'application/octet-stream', etag: `"${digest.slice(-32)}"` };
    const part = asked.kind === 'part' ? asked : undefined;
    await sendContent(response, entry, { blob, headers, part }, fault);
  }

  #isSigned(url: URL): boolean {
    const until = url.searchParams.get('expires') ?? '';
    const signature = Buffer.from(url.searchParams.get('signature') ?? '', 'hex');
    const right = this.#sign(url.pathname, until);
    const isRight = signature.length === right.length && timingSafeEqual(signature, right);
    return isRight && this.#now() / 1000 < Number(until);
  }

  #sign(path: string, until: string): Buffer {
    return createHmac('sha256', this.#key).update(`${path}\n${until}`).digest();
  }
}
