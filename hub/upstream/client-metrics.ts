import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import type { BreakerState } from './breaker.ts';
import type { BudgetReading } from './budget.ts';

export type UpstreamClientMetrics = ReturnType<typeof createUpstreamClientMetrics>;

/** What the metrics read of each upstream at each scrape. */
export type UpstreamReading = {
  upstream: string;
  breaker: BreakerState;
  requests: number;
  budgets: readonly BudgetReading[];
};

const SECONDS_BUCKETS = [0.03, 0.1, 0.3, 1, 3, 10, 30];
const BREAKER_VALUES: Record<BreakerState, number> = { closed: 0, 'half-open': 1, open: 2 };
const ANONYMOUS = 'anonymous';

/** Metrics of requests to upstreams. */
export function createUpstreamClientMetrics(
  m: MetricsRegistry,
  read: () => readonly UpstreamReading[],
) {
  m.gauge(
    'upstream_pulls_left',
    'Pulls of manifests that an account may make now, where the upstream counts them.',
    ['upstream', 'account'],
    (gauge) => {
      gauge.reset();
      for (const { upstream, budgets } of read()) {
        for (const { account, left } of budgets) {
          gauge.set({ upstream, account: account || ANONYMOUS }, left);
        }
      }
    },
  );
  m.gauge(
    'upstream_refill_seconds',
    'Time until all pulls of an account have come in again.',
    ['upstream', 'account'],
    (gauge) => {
      gauge.reset();
      for (const { upstream, budgets } of read()) {
        for (const { account, fullInMs } of budgets) {
          gauge.set({ upstream, account: account || ANONYMOUS }, fullInMs / 1000);
        }
      }
    },
  );
  m.gauge(
    'upstream_breaker_state',
    'Whether an upstream is asked: 0 yes, 1 one request tries it, 2 no, it failed.',
    ['upstream'],
    (gauge) => {
      for (const { upstream, breaker } of read()) gauge.set({ upstream }, BREAKER_VALUES[breaker]);
    },
  );
  m.gauge(
    'upstream_connections',
    'Requests to an upstream that run now.',
    ['upstream'],
    (gauge) => {
      for (const { upstream, requests } of read()) gauge.set({ upstream }, requests);
    },
  );
  return {
    requests: m.counter(
      'upstream_requests_total',
      'Requests to an upstream by kind and result; not those that were not sent.',
      ['upstream', 'kind', 'result'],
    ),
    withheld: m.counter(
      'upstream_withheld_total',
      'Requests that were not sent to an upstream, by reason.',
      ['upstream', 'reason'],
    ),
    seconds: m.histogram(
      'upstream_request_seconds',
      'Time to the headers of an answer of an upstream, by kind.',
      ['upstream', 'kind'],
      SECONDS_BUCKETS,
    ),
    bytes: m.counter('upstream_received_bytes_total', 'Bytes of content from an upstream.', [
      'upstream',
    ]),
  };
}
