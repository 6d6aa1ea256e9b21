import { Pool, type Dispatcher } from 'undici';
import { parseBody } from '../../proto/hubapi/body.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { CodedError } from '../../proto/std/errors.ts';
import { trustingContext } from '../../proto/std/tls-trust.ts';
import type { Replicas } from '../replicas/replicas.ts';
import type { ReplicaRow } from '../replicas/store.ts';
import { UpstreamAway } from '../registry/pull-through.ts';
import {
  HUB_BLOB_PATH,
  HUB_REFUSAL_STATUS,
  HubBlob,
  HubRefusal,
  type HubQuestion,
} from './hub-question.ts';
import type { OpenStream } from './passed-on.ts';
import {
  HUB_HEADERS_TIMEOUT_MS,
  HUB_QUESTION_MAX_BYTES,
  HUB_STREAMS_MAX,
  READ_STALL_MS,
} from './pull-constants.ts';

/** What this hub needs of those it shares a catalog with. */
export type OtherHubs = Pick<Replicas, 'ownership' | 'refresh' | 'sign' | 'ca'>;

type Target = { repository: string; digest: Digest };
type Options = { signal: AbortSignal };

/**
 * Reads blobs that are on their way to another hub. Each call rejects with HUB_AWAY when that hub
 * cannot be asked or does not go on with the blob, and as this hub would when it says why not.
 */
export class HubStreams {
  readonly #hubs: OtherHubs;
  readonly #pools = new Map<string, Pool>();
  #trust: ReturnType<typeof trustingContext> | undefined;

  constructor(modules: { hubs: OtherHubs }) {
    this.#hubs = modules.hubs;
  }

  async size(to: ReplicaRow, target: Target, o: Options): Promise<number> {
    const answer = await this.#ask(to, target, o);
    return parseBody(HubBlob, await small(answer.body)).size;
  }

  async open(
    to: ReplicaRow,
    question: Target & { start: number; end: number },
    { signal }: Options,
  ): Promise<OpenStream> {
    const closed = new AbortController();
    const both = AbortSignal.any([signal, closed.signal]);
    const { body } = await this.#ask(to, question, { signal: both });
    const close = (): void => {
      body.on('error', () => undefined);
      closed.abort();
    };
    return { body, close };
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#pools.values(), (pool) => pool.destroy()));
    this.#pools.clear();
  }

  async #ask(to: ReplicaRow, question: HubQuestion, { signal }: Options) {
    const body = Buffer.from(JSON.stringify(question));
    const authorization = this.#hubs.sign(to, HUB_BLOB_PATH, body);
    if (authorization === undefined) throw away(`this hub is not among the others`);
    const headers = { authorization, 'content-type': 'application/json' };
    let answer: Dispatcher.ResponseData;
    try {
      const target = { method: 'POST', path: HUB_BLOB_PATH } as const;
      answer = await this.#poolOf(to.url).request({ ...target, headers, body, signal });
    } catch (cause) {
      signal.throwIfAborted();
      throw away(`${to.url} cannot be asked`, cause);
    }
    if (answer.statusCode === 200) return answer;
    const bytes = await small(answer.body);
    if (answer.statusCode === HUB_REFUSAL_STATUS) throw refusalOf(bytes);
    throw away(`${to.url} answers ${answer.statusCode}`);
  }

  #poolOf(url: string): Pool {
    const known = this.#pools.get(url);
    if (known !== undefined) return known;
    this.#forgetGone();
    const { ca } = this.#hubs;
    if (ca !== undefined) this.#trust ??= trustingContext(ca);
    const pool = new Pool(url, {
      connections: HUB_STREAMS_MAX,
      pipelining: 1,
      headersTimeout: HUB_HEADERS_TIMEOUT_MS,
      bodyTimeout: READ_STALL_MS,
      ...(this.#trust === undefined ? {} : { connect: { secureContext: this.#trust } }),
    });
    this.#pools.set(url, pool);
    return pool;
  }

  #forgetGone(): void {
    const urls = new Set(this.#hubs.ownership.view?.replicas.map(({ url }) => url));
    for (const [url, pool] of this.#pools) {
      if (urls.has(url)) continue;
      this.#pools.delete(url);
      void pool.destroy();
    }
  }
}

async function small(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body) {
    length += part.length;
    if (length > 2 * HUB_QUESTION_MAX_BYTES) throw away('another hub answers more than it may');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function refusalOf(bytes: Buffer): Error {
  const { code, message, retryAfterS } = parseBody(HubRefusal, bytes);
  if (code === 'away') return new UpstreamAway(message, { retryAfterS });
  return ociError(code === 'denied' ? 'DENIED' : 'BLOB_UNKNOWN', message);
}

function away(message: string, cause?: unknown): Error {
  return new CodedError(message, { code: 'HUB_AWAY' }, { cause });
}
