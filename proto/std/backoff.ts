/** Wait before retry number `attempt` (from 0) in ms: exponential with full jitter. */
export function backoffMs(
  attempt: number,
  options: { baseMs: number; maxMs: number; random?: () => number },
): number {
  const { baseMs, maxMs, random = Math.random } = options;
  return Math.floor(random() * Math.min(maxMs, baseMs * 2 ** attempt));
}
