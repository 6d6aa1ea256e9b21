import { Pool } from 'undici';
import { parseBody } from '../../proto/hubapi/body.ts';
import { deadline } from '../../proto/std/abort.ts';
import { boundedBytes } from '../../proto/std/bounded-bytes.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { trustingContext } from '../../proto/std/tls-trust.ts';
import type { SigningKey } from '../../proto/trust/keys.ts';
import { bodyHashOf, signReplicaCall, type Incarnation } from '../../proto/trust/replica-call.ts';
import {
  FORWARD_ANSWER_MAX_BYTES,
  FORWARD_CONNECTIONS_MAX,
  FORWARD_PAUSE_MS,
  FORWARD_TIMEOUT_MS,
  FORWARDS_MAX,
} from './constants.ts';
import { ForwardError } from './errors.ts';
import { ForwardResponse, type ForwardRequest } from './forward-body.ts';
import type { ReplicaMetrics } from './metrics.ts';
import type { ReplicaRow } from './store.ts';

/** Where one hub passes announcements on to another. */
export const FORWARD_PATH = '/api/replicas/v1/announce';

type Line = { pool: Pool; underWay: number; pausedUntilMs: number };

type ForwarderOptions = {
  ca?: string | undefined;
  /** Milliseconds since 1970. */
  now: () => number;
  timeoutMs?: number;
};

type ForwarderModules = {
  signingKey: () => SigningKey;
  metrics: Pick<ReplicaMetrics, 'forwards' | 'forwardSeconds'>;
};

/** Asks other replicas; one that is silent is left alone for a while, so that nobody waits. */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #modules: ForwarderModules;
  readonly #lines = new Map<string, Line>();
  #trust: ReturnType<typeof trustingContext> | undefined;
  #sequence = 0;

  constructor(options: ForwarderOptions, modules: ForwarderModules) {
    this.#options = options;
    this.#modules = modules;
  }

  /**
   * Passes an announcement on. Throws ForwardError, TIMEOUT within FORWARD_TIMEOUT_MS at the
   * latest; REFUSED when one of the two hubs does not know that the other came or went.
   */
  async ask(
    from: Incarnation,
    to: ReplicaRow,
    request: ForwardRequest,
    options: { signal?: AbortSignal } = {},
  ): Promise<ForwardResponse> {
    const { forwards, forwardSeconds } = this.#modules.metrics;
    const stop = forwardSeconds.startTimer();
    try {
      const answer = await this.#ask(from, to, Buffer.from(JSON.stringify(request)), options);
      stop();
      forwards.inc({ result: 'ok' });
      return answer;
    } catch (err) {
      const failure = failureOf(err, to);
      forwards.inc({ result: failure.code });
      throw failure;
    }
  }

  /** Authorization of a POST from this hub to another one, good once. */
  sign({ from, to }: { from: Incarnation; to: ReplicaRow }, path: string, body: Buffer): string {
    this.#sequence += 1;
    const call = {
      method: 'POST',
      path,
      from,
      to: { id: to.id, joined: to.joined },
      sequence: this.#sequence,
      bodyHash: bodyHashOf(body),
    };
    return signReplicaCall(call, this.#modules.signingKey(), this.#options.now());
  }

  /** Ends the connections to all others. */
  async keep(urls: ReadonlySet<string>): Promise<void> {
    const gone = [...this.#lines].filter(([url]) => !urls.has(url));
    for (const [url] of gone) this.#lines.delete(url);
    await Promise.all(gone.map(([, { pool }]) => pool.destroy()));
  }

  close(): Promise<void> {
    return this.keep(new Set());
  }

  async #ask(
    from: Incarnation,
    to: ReplicaRow,
    body: Buffer,
    options: { signal?: AbortSignal },
  ): Promise<ForwardResponse> {
    const line = this.#lineTo(to.url);
    if (performance.now() < line.pausedUntilMs) {
      throw new ForwardError('PAUSED', `${to.url} did not answer just now`);
    }
    if (line.underWay >= FORWARDS_MAX) {
      throw new ForwardError('BUSY', `${FORWARDS_MAX} announcements are under way to ${to.url}`);
    }
    line.underWay += 1;
    try {
      using limit = deadline(this.#options.timeoutMs ?? FORWARD_TIMEOUT_MS, options.signal);
      return await this.#exchange(line.pool, { from, to, body }, limit.signal);
    } catch (err) {
      if (!(err instanceof ForwardError)) line.pausedUntilMs = performance.now() + FORWARD_PAUSE_MS;
      throw err;
    } finally {
      line.underWay -= 1;
    }
  }

  async #exchange(
    pool: Pool,
    { from, to, body }: { from: Incarnation; to: ReplicaRow; body: Buffer },
    signal: AbortSignal,
  ): Promise<ForwardResponse> {
    const target = { method: 'POST', path: FORWARD_PATH } as const;
    const authorization = this.sign({ from, to }, target.path, body);
    const headers = { authorization, 'content-type': 'application/json' };
    const response = await pool.request({ ...target, headers, body, signal });
    const tooLong = () => new ForwardError('BAD_ANSWER', `${to.url} answers more than it may`);
    const bytes = await boundedBytes(response.body, FORWARD_ANSWER_MAX_BYTES, tooLong);
    if (response.statusCode === 409) {
      throw new ForwardError('REFUSED', `${to.url} refuses: ${bytes.toString().slice(0, 500)}`);
    }
    if (response.statusCode !== 200) {
      const code = response.statusCode === 503 ? 'BUSY' : 'BAD_ANSWER';
      throw new ForwardError(code, `${to.url} answers ${response.statusCode}`);
    }
    try {
      return parseBody(ForwardResponse, bytes);
    } catch (cause) {
      throw new ForwardError('BAD_ANSWER', `${to.url} answers what is no answer`, { cause });
    }
  }

  #lineTo(url: string): Line {
    const known = this.#lines.get(url);
    if (known !== undefined) return known;
    const { ca, timeoutMs = FORWARD_TIMEOUT_MS } = this.#options;
    if (ca !== undefined) this.#trust ??= trustingContext(ca);
    const pool = new Pool(url, {
      connections: FORWARD_CONNECTIONS_MAX,
      pipelining: 1,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      connect: {
        timeout: timeoutMs,
        ...(this.#trust === undefined ? {} : { secureContext: this.#trust }),
      },
    });
    const line = { pool, underWay: 0, pausedUntilMs: Number.NEGATIVE_INFINITY };
    this.#lines.set(url, line);
    return line;
  }
}

function failureOf(err: unknown, { url }: ReplicaRow): ForwardError {
  if (err instanceof ForwardError) return err;
  const slow = ['TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'];
  const code = hasCode(err, ...slow) ? 'TIMEOUT' : 'UNREACHABLE';
  return new ForwardError(code, `${url}: ${messageOf(err)}`, { cause: err });
}
