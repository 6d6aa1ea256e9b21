import { request, type Dispatcher } from 'undici';
import { API_ANSWER_MAX_BYTES, ApiProblem } from '../../proto/hubapi/admin.ts';
import { BackupHold, BACKUPS_PATH } from '../../proto/hubapi/backups.ts';
import { checkBody, parseBody } from '../../proto/hubapi/body.ts';
import { PurgeList } from '../../proto/hubapi/purges.ts';
import { parseDigest, type Digest } from '../../proto/oci/digest.ts';
import { askAdministration } from '../../proto/ops/admin-request.ts';
import { AdminError, type AdminTarget } from '../../proto/ops/join-token-request.ts';
import { boundedBytes } from '../../proto/std/bounded-bytes.ts';
import { SILENCE_MS } from './constants.ts';

/** Body of an answer that may be long. Throws AdminError HUB_UNREACHABLE when it is cut. */
export type Download = AsyncIterable<Buffer>;

/** What a backup asks of a running hub, as its administrator. */
export class BackupClient {
  readonly #target: AdminTarget;

  constructor(target: AdminTarget) {
    this.#target = target;
  }

  /** @throws AdminError */
  async begin(): Promise<string> {
    const answer = await askAdministration(this.#target, { method: 'POST', path: BACKUPS_PATH });
    return checkBody(BackupHold, answer).id;
  }

  /** False when the hub no longer knows of the backup. */
  async renew(id: string): Promise<boolean> {
    try {
      await askAdministration(this.#target, { method: 'PUT', path: pathOf(id) });
      return true;
    } catch (err) {
      if (isNotFound(err)) return false;
      throw err;
    }
  }

  async end(id: string): Promise<void> {
    await askAdministration(this.#target, { method: 'DELETE', path: pathOf(id) });
  }

  /** Digests that are taken down. */
  async purged(): Promise<ReadonlySet<Digest>> {
    const path = BACKUPS_PATH.replace(/backups$/, 'purges');
    const answer = await askAdministration(this.#target, { method: 'GET', path });
    return new Set(checkBody(PurgeList, answer).purged.map(parseDigest));
  }

  /** The lines of the catalog. @throws AdminError */
  async catalog(id: string, { signal }: { signal: AbortSignal }): Promise<Download> {
    const body = await this.#get(`${pathOf(id)}/catalog`, { signal });
    if (body !== undefined) return body;
    throw this.#refused('this backup has ended; begin another one', 404);
  }

  /** Bytes of a blob from `start` on; undefined when there is no such blob. */
  blob(
    id: string,
    digest: Digest,
    { start, signal }: { start: number; signal: AbortSignal },
  ): Promise<Download | undefined> {
    const range = start > 0 ? { range: `bytes=${start}-` } : {};
    return this.#get(`${pathOf(id)}/blobs/${digest}`, { headers: range, signal });
  }

  async #get(
    path: string,
    { headers = {}, signal }: { headers?: Record<string, string>; signal: AbortSignal },
  ): Promise<Download | undefined> {
    const { url, username, password, dispatcher } = this.#target;
    const basic = Buffer.from(`${username}:${password}`).toString('base64');
    let answer: Dispatcher.ResponseData;
    try {
      answer = await request(new URL(path, url), {
        headers: { ...headers, authorization: `Basic ${basic}` },
        headersTimeout: SILENCE_MS,
        bodyTimeout: SILENCE_MS,
        signal,
        ...(dispatcher === undefined ? {} : { dispatcher }),
      });
    } catch (cause) {
      signal.throwIfAborted();
      const message = `no answer from the hub at ${url}; see that it runs and is trusted here`;
      throw new AdminError(message, { code: 'HUB_UNREACHABLE', url }, { cause });
    }
    const { statusCode: status, body } = answer;
    if (status === (headers['range'] === undefined ? 200 : 206)) return told(body, url);
    if (status === 404) {
      await body.dump();
      return undefined;
    }
    const reason = await reasonOf(body);
    signal.throwIfAborted();
    throw this.#refused(reason, status);
  }

  #refused(reason: string | undefined, status: number): AdminError {
    const message =
      reason === undefined ? `the hub answered ${status}` : `the hub refused: ${reason}`;
    return new AdminError(message, { code: 'HUB_REFUSED', url: this.#target.url, status });
  }
}

async function* told(body: AsyncIterable<Buffer>, url: string): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (cause) {
    const message = `the hub at ${url} broke off`;
    throw new AdminError(message, { code: 'HUB_UNREACHABLE', url }, { cause });
  }
}

function pathOf(id: string): string {
  return `${BACKUPS_PATH}/${encodeURIComponent(id)}`;
}

function isNotFound(err: unknown): boolean {
  return err instanceof AdminError && 'status' in err.data && err.data.status === 404;
}

/** What answers in the place of a hub gives none, and perhaps no end. */
async function reasonOf(body: AsyncIterable<Buffer>): Promise<string | undefined> {
  try {
    return parseBody(ApiProblem, await boundedBytes(body, API_ANSWER_MAX_BYTES)).error.message;
  } catch {
    return undefined;
  }
}
