import type { CallOptions, SeenAnswer } from '../../proto/distribution/call.ts';
import { DistributionError } from '../../proto/distribution/errors.ts';
import type { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { deadline } from '../../proto/std/abort.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import type { OutageLog } from '../../proto/ops/outage-log.ts';
import type { Breaker, Pass } from './breaker.ts';
import type { Budget, TakenPull } from './budget.ts';
import type { UpstreamClientMetrics } from './client-metrics.ts';
import {
  INTERACTIVE_SLOT_WAIT_MS,
  INTERACTIVE_TRIES,
  RETRY_BASE_MS,
  RETRY_MAX_MS,
  SCHEDULED_SLOT_WAIT_MS,
  SCHEDULED_TRIES,
  SLOW_ANSWER_MS,
} from './constants.ts';
import { UpstreamError, upstreamError } from './errors.ts';
import type { AskOptions, Urgency } from './port.ts';
import { rateOf, retryAfterOf, type RateTold } from './rate-headers.ts';
import type { Slots, SlotUse } from './slots.ts';

/** Only `pull`, the GET of a manifest, is counted by registries. */
export type RequestKind = 'pull' | 'manifest-head' | 'blob' | 'blob-head' | 'tags' | 'referrers';

export type Client = Pick<
  RegistryClient,
  'askManifest' | 'getManifest' | 'headBlob' | 'openBlob' | 'tagPage' | 'listReferrers'
>;

/** Time, as tests set it. */
export type SenderClock = {
  /** As Date.now(). */
  now: () => number;
  random: () => number;
  sleep: (ms: number, o: { signal?: AbortSignal | undefined }) => Promise<void>;
};

export type SenderModules = {
  /** By account; the empty one is for none. */
  clients: ReadonlyMap<string, Client>;
  budget: Budget;
  breaker: Breaker;
  slots: Slots;
  metrics: UpstreamClientMetrics;
  outage: OutageLog;
  clock: SenderClock;
};

type Wish<T> = { kind: RequestKind; o: AskOptions; work: Send<T>; only: string | undefined };
type Try = { kind: RequestKind; account: string; o: AskOptions; pull: TakenPull };
type Send<T> = (client: Client, o: CallOptions) => Promise<T>;

/** What answers said while one request was on its way. */
type Seen = {
  told: RateTold | undefined;
  retryAfterMs: number | undefined;
  /** The last answer came from the registry itself. */
  isOwn: boolean;
};

const SLOT_WAITS: Record<Urgency, number> = {
  interactive: INTERACTIVE_SLOT_WAIT_MS,
  scheduled: SCHEDULED_SLOT_WAIT_MS,
};
const TRIES: Record<Urgency, number> = {
  interactive: INTERACTIVE_TRIES,
  scheduled: SCHEDULED_TRIES,
};

/** Sends requests to one upstream as far as its budget, its health and our limits let it. */
export class Sender {
  readonly #name: string;
  readonly #modules: SenderModules;

  /** `name` of the upstream, for people. */
  constructor(options: { name: string }, modules: SenderModules) {
    this.#name = options.name;
    this.#modules = modules;
  }

  /**
   * Sends one request, again where that may help, as one of the accounts that may send it, or as
   * `only` that one. The slot is taken until it is disposed.
   * @throws UpstreamError, DistributionError; the reason of the signal
   */
  async send<T>(
    kind: RequestKind,
    o: AskOptions,
    work: Send<T>,
    only?: string,
  ): Promise<{ value: T; slot: Disposable }> {
    const slot = await this.#slot(kind, o);
    o.onTurn?.();
    try {
      return { value: await this.#tried({ kind, o, work, only }), slot };
    } catch (err) {
      slot[Symbol.dispose]();
      throw err;
    }
  }

  async #slot(kind: RequestKind, { urgency, signal }: AskOptions): Promise<Disposable> {
    if (this.#modules.breaker.waitMs > 0) throw this.#away();
    using limit = deadline(SLOT_WAITS[urgency], signal);
    try {
      return await this.#modules.slots.take(slotUseOf(kind, urgency), limit.signal);
    } catch (err) {
      signal?.throwIfAborted();
      this.#withheld('busy');
      const retryAtMs = this.#modules.clock.now() + RETRY_MAX_MS;
      const message = `too many requests to ${this.#name} wait; try again`;
      throw upstreamError({ code: 'UNAVAILABLE', upstream: this.#name, retryAtMs }, message, err);
    }
  }

  async #tried<T>(wish: Wish<T>): Promise<T> {
    const { o } = wish;
    const { clock } = this.#modules;
    for (let attempt = 1; ; attempt += 1) {
      try {
        // oxlint-disable-next-line no-await-in-loop -- the next one is for when this one failed
        return await this.#byAccounts(wish);
      } catch (err) {
        if (!isFailure(err)) throw err;
        const isSlow = hasCode(err, 'TIMEOUT') && o.urgency === 'interactive';
        const isLast = attempt >= TRIES[o.urgency] || this.#modules.breaker.waitMs > 0;
        if (isSlow || isLast) throw this.#away(err);
      }
      const pause = { baseMs: RETRY_BASE_MS, maxMs: RETRY_MAX_MS, random: clock.random };
      // oxlint-disable-next-line no-await-in-loop -- the pause comes before the next try
      await clock.sleep(backoffMs(attempt, pause), o);
    }
  }

  /** Tries one account after the other, until one is not refused. */
  async #byAccounts<T>({ kind, o, work, only }: Wish<T>): Promise<T> {
    const { budget, clients } = this.#modules;
    const { accounts, blockedMs } = await budget.order();
    const waits = blockedMs > 0 ? [blockedMs] : [];
    let refusal: unknown;
    let limited: unknown;
    for (const account of accounts) {
      const client = clients.get(account);
      if (client === undefined || account !== (only ?? account)) continue;
      // oxlint-disable-next-line no-await-in-loop -- the next account is for when this one may not
      const pull = kind === 'pull' ? await budget.take(account, o.urgency) : FREE;
      if (!('done' in pull)) {
        waits.push(pull.waitMs);
        continue;
      }
      try {
        // oxlint-disable-next-line no-await-in-loop
        return await this.#once({ kind, account, o, pull }, (own) => work(client, own));
      } catch (err) {
        if (err instanceof UpstreamError && err.data.code === 'RATE_LIMITED') {
          limited = err;
          waits.push(err.data.retryAtMs - this.#modules.clock.now());
        } else if (isRefusal(err)) refusal = err;
        else throw err;
      } finally {
        pull.done();
      }
    }
    // An account that may not pull more could have been let in.
    if (waits.length > 0) throw this.#limited(Math.min(...waits), limited);
    throw this.#refused(refusal);
  }

  async #once<T>(
    { kind, account, o, pull }: Try,
    work: (o: CallOptions) => Promise<T>,
  ): Promise<T> {
    const { breaker, budget, metrics, clock } = this.#modules;
    const pass = breaker.enter();
    if (pass === undefined) throw this.#away();
    const seen: Seen = { told: undefined, retryAfterMs: undefined, isOwn: true };
    const isManifest = kind === 'pull' || kind === 'manifest-head';
    const startedMs = clock.now();
    const labels = { upstream: this.#name, kind };
    const value = await work({
      signal: o.signal,
      onAnswer: (answer) => note(seen, answer, { isManifest, now: clock.now() }),
    }).catch(async (err: unknown) => {
      pull.done();
      metrics.requests.inc({ ...labels, result: resultOf(err, o.signal) });
      const isGiven = o.signal?.aborted === true;
      if (isGiven && clock.now() - startedMs < SLOW_ANSWER_MS) pass.dropped();
      else {
        // What another host says of itself is not about the registry.
        const waitMs = seen.isOwn ? seen.retryAfterMs : undefined;
        this.#ended(pass, isGiven || isFailure(err), { err, waitMs });
      }
      if (statusOf(err) !== 429) throw err;
      const { told, retryAfterMs } = seen;
      const isCount = kind === 'pull' || (kind === 'manifest-head' && told !== undefined);
      const counted = isCount && seen.isOwn;
      throw this.#limited(await budget.refused(account, { told, retryAfterMs, counted }), err);
    });
    pull.done();
    pass.worked();
    this.#modules.outage.worked();
    metrics.requests.inc({ ...labels, result: value === undefined ? 'not-found' : 'ok' });
    metrics.seconds.observe(labels, (clock.now() - startedMs) / 1000);
    if (seen.told !== undefined) await budget.tell(account, seen.told);
    return value;
  }

  #ended(
    pass: Pass,
    failed: boolean,
    { err, waitMs }: { err: unknown; waitMs: number | undefined },
  ): void {
    const { breaker, outage } = this.#modules;
    if (failed) pass.failed(waitMs);
    else pass.worked();
    // What only the operator can put right is told at once: clients are not told which hosts.
    const isTold = failed ? breaker.waitMs > 0 : hasCode(err, ...NEEDS_SETTING);
    if (isTold) outage.failed(messageOf(err));
  }

  #away(cause?: unknown): UpstreamError {
    const { breaker, clock } = this.#modules;
    const upstream = this.#name;
    if (cause === undefined) this.#withheld('breaker');
    const retryAtMs = clock.now() + (breaker.waitMs || RETRY_MAX_MS);
    const why = cause === undefined ? '' : ` (${messageOf(cause)})`;
    const at = timeText(retryAtMs);
    const message = `${upstream} does not answer${why}; it is asked again at ${at}`;
    return upstreamError({ code: 'UNAVAILABLE', upstream, retryAtMs }, message, cause);
  }

  #limited(waitMs: number, cause?: unknown): UpstreamError {
    const upstream = this.#name;
    if (cause === undefined) this.#withheld('budget');
    const retryAtMs = this.#modules.clock.now() + waitMs;
    const message = `${upstream} lets this hub pull nothing more until ${timeText(retryAtMs)}`;
    return upstreamError({ code: 'RATE_LIMITED', upstream, retryAtMs }, message, cause);
  }

  #refused(cause: unknown): UpstreamError {
    const upstream = this.#name;
    const status = statusOf(cause) ?? 401;
    const message = `${upstream} refuses what this hub asks for: ${messageOf(cause)}`;
    return upstreamError({ code: 'REFUSED', upstream, status }, message, cause);
  }

  #withheld(reason: 'breaker' | 'budget' | 'busy'): void {
    this.#modules.metrics.withheld.inc({ upstream: this.#name, reason });
  }
}

function slotUseOf(kind: RequestKind, urgency: Urgency): SlotUse {
  if (urgency === 'scheduled') return 'scheduled';
  return kind === 'blob' ? 'blob' : 'question';
}

/** Hosts that are not allowed. */
const NEEDS_SETTING = ['ADDRESS_REFUSED', 'REDIRECT_REFUSED'];

/** What is not counted. */
const FREE: TakenPull = { done: () => {} };

/** Pulls are counted by the registry itself, for requests of manifests. */
function note(
  seen: Seen,
  { isOwn, status, header }: SeenAnswer,
  { isManifest, now }: { isManifest: boolean; now: number },
): void {
  seen.isOwn = isOwn;
  if (isOwn && isManifest) seen.told = rateOf(header) ?? seen.told;
  if (status === 429 || status >= 500) seen.retryAfterMs = retryAfterOf(header, now);
}

function timeText(ms: number): string {
  return new Date(Math.ceil(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

function statusOf(err: unknown): number | undefined {
  if (!(err instanceof DistributionError)) return undefined;
  const { data } = err;
  return data.code === 'HTTP_STATUS' || data.code === 'AUTH_FAILED' ? data.status : undefined;
}

/** The registry is away or broken, rather than that it says no. */
function isFailure(err: unknown): boolean {
  return hasCode(err, 'UNREACHABLE', 'TIMEOUT') || (statusOf(err) ?? 0) >= 500;
}

function isRefusal(err: unknown): boolean {
  return statusOf(err) === 401 || statusOf(err) === 403;
}

function resultOf(err: unknown, signal: AbortSignal | undefined): string {
  if (signal?.aborted) return 'aborted';
  if (statusOf(err) === 429) return 'limited';
  if (isRefusal(err)) return 'refused';
  return isFailure(err) ? 'failed' : 'wrong';
}
