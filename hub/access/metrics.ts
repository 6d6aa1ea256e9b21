import type { MetricsRegistry } from '../../proto/ops/metrics.ts';

/** What the hub counts of logins and tokens. */
export type AccessMetrics = ReturnType<typeof createAccessMetrics>;

export function createAccessMetrics(m: MetricsRegistry) {
  const logins = m.counter('logins_total', 'Names and passwords that were shown, by result.', [
    'result',
  ]);
  const tokens = m.counter('tokens_issued_total', 'Tokens of the token service, by kind.', [
    'kind',
  ]);
  // There from the start, so that the first refusal is a rise.
  for (const result of ['ok', 'refused', 'throttled', 'busy']) logins.inc({ result }, 0);
  for (const kind of ['access', 'anonymous', 'refresh', 'lent']) tokens.inc({ kind }, 0);
  return { logins, tokens };
}
