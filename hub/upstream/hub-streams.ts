import { Pool, type Dispatcher } from 'undici';
import { BATCH_MAX_BYTES } from '../../proto/chunks/provisional.ts';
import { parseBody } from '../../proto/hubapi/body.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { CodedError, hasCode } from '../../proto/std/errors.ts';
import { trustingContext } from '../../proto/std/tls-trust.ts';
import type { Replicas } from '../replicas/replicas.ts';
import type { ReplicaRow } from '../replicas/store.ts';
import { UpstreamAway } from '../registry/pull-through.ts';
import { heldElsewhere } from './held-elsewhere.ts';
import {
  HUB_BLOB_PATH,
  HUB_LEAVES_PATH,
  HUB_REFUSAL_STATUS,
  HubBlob,
  HubRefusal,
  type HubLeavesQuestion,
  type HubQuestion,
} from './hub-question.ts';
import type { OpenStream } from './passed-on.ts';
import {
  HUB_HEADERS_TIMEOUT_MS,
  HUB_LEAVES_CALLS_MAX,
  HUB_QUESTION_MAX_BYTES,
  HUB_STREAMS_MAX,
  READ_STALL_MS,
} from './pull-constants.ts';

/** What this hub needs of those it shares a catalog with. */
export type OtherHubs = Pick<Replicas, 'ownership' | 'refresh' | 'sign' | 'ca'>;

/** `checksLeaves`: who reads checks the bytes against leaves, and gets them as they come. */
type Target = { repository: string; digest: Digest; checksLeaves?: boolean };
type Options = { signal: AbortSignal };
/** Calls that wait have connections of their own: bodies take theirs for long. */
type Kind = typeof HUB_BLOB_PATH | typeof HUB_LEAVES_PATH;

const CONNECTIONS = { [HUB_BLOB_PATH]: HUB_STREAMS_MAX, [HUB_LEAVES_PATH]: HUB_LEAVES_CALLS_MAX };

/**
 * Reads blobs that are on their way to another hub. Each call rejects with HUB_AWAY when that hub
 * cannot be asked or does not go on with the blob, with HELD_ELSEWHERE when it says which one does,
 * and as this hub would when it says why not.
 */
export class HubStreams {
  readonly #hubs: OtherHubs;
  readonly #pools = new Map<Kind, Map<string, Pool>>([
    [HUB_BLOB_PATH, new Map()],
    [HUB_LEAVES_PATH, new Map()],
  ]);
  #trust: ReturnType<typeof trustingContext> | undefined;

  constructor(modules: { hubs: OtherHubs }) {
    this.#hubs = modules.hubs;
  }

  async size(to: ReplicaRow, target: Target, o: Options): Promise<number> {
    const answer = await this.#ask(to, HUB_BLOB_PATH, target, o);
    return parseBody(HubBlob, await small(answer.body)).size;
  }

  /** A batch of leaves as that hub signed it; undefined when it does not fetch the blob. */
  async leaves(
    to: ReplicaRow,
    question: HubLeavesQuestion,
    o: Options,
  ): Promise<Buffer | undefined> {
    try {
      const answer = await this.#ask(to, HUB_LEAVES_PATH, question, o);
      return await small(answer.body, BATCH_MAX_BYTES);
    } catch (err) {
      if (hasCode(err, 'BLOB_UNKNOWN')) return undefined;
      throw err;
    }
  }

  async open(
    to: ReplicaRow,
    question: Target & { start: number; end: number },
    { signal }: Options,
  ): Promise<OpenStream> {
    const closed = new AbortController();
    const both = AbortSignal.any([signal, closed.signal]);
    const { body } = await this.#ask(to, HUB_BLOB_PATH, question, { signal: both });
    const close = (): void => {
      body.on('error', () => undefined);
      closed.abort();
    };
    return { body, close };
  }

  async close(): Promise<void> {
    const all = [...this.#pools.values()].flatMap((pools) => [...pools.values()]);
    for (const pools of this.#pools.values()) pools.clear();
    await Promise.all(all.map((pool) => pool.destroy()));
  }

  async #ask(
    to: ReplicaRow,
    path: Kind,
    question: HubQuestion | HubLeavesQuestion,
    { signal }: Options,
  ) {
    const body = Buffer.from(JSON.stringify(question));
    const authorization = this.#hubs.sign(to, path, body);
    if (authorization === undefined) throw away(`this hub is not among the others`);
    const headers = { authorization, 'content-type': 'application/json' };
    let answer: Dispatcher.ResponseData;
    try {
      const target = { method: 'POST', path } as const;
      answer = await this.#poolOf(to.url, path).request({ ...target, headers, body, signal });
    } catch (cause) {
      signal.throwIfAborted();
      throw away(`${to.url} cannot be asked`, cause);
    }
    if (answer.statusCode === 200) return answer;
    const bytes = await small(answer.body);
    if (answer.statusCode === HUB_REFUSAL_STATUS) throw refusalOf(bytes);
    throw away(`${to.url} answers ${answer.statusCode}`);
  }

  #poolOf(url: string, kind: Kind): Pool {
    const pools = this.#pools.get(kind) ?? new Map<string, Pool>();
    const known = pools.get(url);
    if (known !== undefined) return known;
    this.#forgetGone(pools);
    const { ca } = this.#hubs;
    if (ca !== undefined) this.#trust ??= trustingContext(ca);
    const pool = new Pool(url, {
      connections: CONNECTIONS[kind],
      pipelining: 1,
      headersTimeout: HUB_HEADERS_TIMEOUT_MS,
      bodyTimeout: READ_STALL_MS,
      ...(this.#trust === undefined ? {} : { connect: { secureContext: this.#trust } }),
    });
    pools.set(url, pool);
    return pool;
  }

  #forgetGone(pools: Map<string, Pool>): void {
    const urls = new Set(this.#hubs.ownership.view?.replicas.map(({ url }) => url));
    for (const [url, pool] of pools) {
      if (urls.has(url)) continue;
      pools.delete(url);
      void pool.destroy();
    }
  }
}

async function small(
  body: AsyncIterable<Buffer>,
  maxBytes = 2 * HUB_QUESTION_MAX_BYTES,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body) {
    length += part.length;
    if (length > maxBytes) throw away('another hub answers more than it may');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function refusalOf(bytes: Buffer): Error {
  const { code, message, retryAfterS, holder } = parseBody(HubRefusal, bytes);
  if (holder !== undefined) return heldElsewhere(holder);
  if (code === 'away') return new UpstreamAway(message, { retryAfterS });
  return ociError(code === 'denied' ? 'DENIED' : 'BLOB_UNKNOWN', message);
}

function away(message: string, cause?: unknown): Error {
  return new CodedError(message, { code: 'HUB_AWAY' }, { cause });
}
