import { isIPv4, isIPv6 } from 'node:net';
import type { Static, TSchema } from 'typebox';
import { Pool } from 'undici';
import { checkBody, parseBody } from '../../proto/hubapi/body.ts';
import { FleetErrorBody } from '../../proto/hubapi/schemas.ts';
import { deadline } from '../../proto/std/abort.ts';
import { boundedBytes } from '../../proto/std/bounded-bytes.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { trustingContext } from '../../proto/std/tls-trust.ts';
import { signRequest } from '../../proto/trust/request-signature.ts';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import {
  HUB_BODY_TIMEOUT_MS,
  HUB_CALLS_MAX,
  HUB_CALL_TIMEOUT_MS,
  HUB_CONNECTIONS_MAX,
  HUB_CONNECT_TIMEOUT_MS,
  HUB_HEADERS_TIMEOUT_MS,
  HUB_RESPONSE_MAX_BYTES,
  OVERTAKEN_RETRIES_MAX,
} from './constants.ts';
import { FleetError } from './errors.ts';
import type { NodeIdentity } from './identity.ts';
import type { FleetMetrics } from './metrics.ts';

/** Refusals of a hub that works. */
const ALIVE: ReadonlySet<string> = new Set(['BUSY', 'FLEET_FULL']);

type Call<S extends TSchema> = {
  /** Name in the metrics. */
  name: string;
  method: 'GET' | 'POST';
  /** Path with query. */
  path: string;
  body?: object;
  schema: S;
  maxBytes?: number;
};

/** Signed JSON calls to the fleet API of one hub. */
export class HubApi {
  readonly #pool: Pool;
  readonly #identity: NodeIdentity;
  readonly #now: () => number;
  readonly #metrics: FleetMetrics;
  #lastTimeMs = 0;
  #inFlight = 0;
  #online = false;

  /** Throws FleetError HUB_URL_INVALID, PLAIN_HTTP_REFUSED. */
  constructor(
    options: { url: string; allowPlainHttp: boolean; ca?: string | undefined; now: () => number },
    modules: { identity: NodeIdentity; metrics: FleetMetrics },
  ) {
    this.#pool = new Pool(originOf(options.url, options.allowPlainHttp), {
      connections: HUB_CONNECTIONS_MAX,
      pipelining: 1,
      headersTimeout: HUB_HEADERS_TIMEOUT_MS,
      bodyTimeout: HUB_BODY_TIMEOUT_MS,
      connect: {
        timeout: HUB_CONNECT_TIMEOUT_MS,
        ...(options.ca === undefined ? {} : { secureContext: trustingContext(options.ca) }),
      },
    });
    this.#identity = modules.identity;
    this.#metrics = modules.metrics;
    this.#now = options.now;
  }

  /** Whether the last call was answered, be it that the hub is too busy for it. */
  get online(): boolean {
    return this.#online;
  }

  /**
   * One call. Throws FleetError HUB_UNREACHABLE, HUB_TIMEOUT, HUB_STATUS, HUB_ANSWER_INVALID, or
   * the reason of the signal.
   */
  async call<S extends TSchema>(
    call: Call<S>,
    options: { signal?: AbortSignal | undefined },
  ): Promise<Static<S>> {
    if (this.#inFlight >= HUB_CALLS_MAX) {
      throw new FleetError(`More than ${HUB_CALLS_MAX} calls to the hub are under way.`, {
        code: 'HUB_UNREACHABLE',
      });
    }
    this.#inFlight++;
    const { calls, callSeconds } = this.#metrics;
    const stop = callSeconds.startTimer({ call: call.name });
    try {
      using limit = deadline(HUB_CALL_TIMEOUT_MS, options.signal);
      const answer = await this.#inOrder(call, limit.signal);
      stop();
      calls.inc({ call: call.name, outcome: 'ok' });
      this.#online = true;
      return answer;
    } catch (err) {
      options.signal?.throwIfAborted();
      const failure = asFleetError(err, call.path);
      const answered = isAnswer(failure);
      this.#online = answered;
      calls.inc({ call: call.name, outcome: answered ? 'refused' : 'failed' });
      throw failure;
    } finally {
      this.#inFlight--;
    }
  }

  /** Ends calls under way and closes the connections. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  // Calls on several connections may overtake each other, and the hub refuses the later one as a
  // replay without having done anything; with a new time it is a new call.
  async #inOrder<S extends TSchema>(call: Call<S>, signal: AbortSignal): Promise<Static<S>> {
    for (let attempt = 1; ; attempt++) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- attempts follow each other
        return await this.#exchange(call, signal);
      } catch (err) {
        const data = err instanceof FleetError ? err.data : undefined;
        const overtaken = data?.code === 'HUB_STATUS' && data.hubCode === 'REPLAYED';
        if (!overtaken || attempt === OVERTAKEN_RETRIES_MAX) throw err;
      }
    }
  }

  async #exchange<S extends TSchema>(call: Call<S>, signal: AbortSignal): Promise<Static<S>> {
    const { method, path, schema, maxBytes = HUB_RESPONSE_MAX_BYTES } = call;
    const body = Buffer.from(call.body === undefined ? '' : JSON.stringify(call.body));
    const authorization = signRequest(
      { method, path, body, nowMs: this.#nextTimeMs() },
      this.#identity,
    );
    const response = await this.#pool.request({
      method,
      path,
      signal,
      headers: {
        authorization,
        accept: 'application/json',
        ...(body.length > 0 ? { 'content-type': 'application/json' } : {}),
      },
      body: body.length > 0 ? body : null,
    });
    const tooLong = () =>
      new FleetError(`The hub answers with more than ${maxBytes} bytes.`, {
        code: 'HUB_ANSWER_INVALID',
      });
    const bytes = await boundedBytes(response.body, maxBytes, tooLong);
    if (response.statusCode === 200) return parseBody(schema, bytes);
    const { code, message } = refusalOf(bytes);
    throw new FleetError(`The hub answered ${response.statusCode} to ${path}: ${message}`, {
      code: 'HUB_STATUS',
      status: response.statusCode,
      hubCode: code,
    });
  }

  // The hub takes the time as the order of the requests of one peer. A time further ahead of the
  // clock than the hub tolerates was refused there, so a clock set back starts the order anew.
  #nextTimeMs(): number {
    const nowMs = this.#now();
    const next = this.#lastTimeMs + 1;
    this.#lastTimeMs = next - nowMs > CLOCK_SKEW_MS ? nowMs : Math.max(nowMs, next);
    return this.#lastTimeMs;
  }
}

/** Scheme, host and port. Throws FleetError HUB_URL_INVALID, PLAIN_HTTP_REFUSED. */
export function originOf(text: string, allowPlainHttp: boolean): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:';
  if (!url || !isHttp || url.pathname !== '/' || url.search !== '' || url.username !== '') {
    throw new FleetError('hub.url must be https://host[:port], without path or user.', {
      code: 'HUB_URL_INVALID',
    });
  }
  if (url.protocol === 'http:' && !allowPlainHttp && !isLoopback(url.hostname)) {
    throw new FleetError(
      `hub.url is plain http to ${url.hostname}. Use https, or set hub.allowPlainHttp if the ` +
        'network in between is yours alone.',
      { code: 'PLAIN_HTTP_REFUSED' },
    );
  }
  return url.origin;
}

/**
 * Rights outlive their end while the hub cannot be asked, so a hub that is there must not look
 * gone because it is busy. It says so itself; something before it that fails in its place does not.
 */
function isAnswer({ data }: FleetError): boolean {
  return data.code === 'HUB_STATUS' && (data.status < 500 || ALIVE.has(data.hubCode));
}

function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIPv4(host)) return host.startsWith('127.');
  return isIPv6(host) ? host === '::1' : host === 'localhost';
}

function refusalOf(bytes: Buffer): { code: string; message: string } {
  try {
    return checkBody(FleetErrorBody, JSON.parse(bytes.toString('utf8'))).error;
  } catch {
    return { code: '', message: 'no reason given' };
  }
}

function asFleetError(err: unknown, path: string): FleetError {
  if (err instanceof FleetError) return err;
  if (hasCode(err, 'INVALID_BODY')) {
    return new FleetError(
      `The hub's answer to ${path} is not what this version expects.`,
      { code: 'HUB_ANSWER_INVALID' },
      { cause: err },
    );
  }
  const late = hasCode(
    err,
    'TIMEOUT',
    'UND_ERR_HEADERS_TIMEOUT',
    'UND_ERR_BODY_TIMEOUT',
    'UND_ERR_CONNECT_TIMEOUT',
  );
  return new FleetError(
    late
      ? `The hub did not answer ${path} in time.`
      : `No connection to the hub: ${messageOf(err)}`,
    { code: late ? 'HUB_TIMEOUT' : 'HUB_UNREACHABLE' },
    { cause: err },
  );
}
