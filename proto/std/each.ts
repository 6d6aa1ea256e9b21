/**
 * Does the work for each item, `atOnce` of them at a time. When one fails no more begin, the signal
 * of those under way aborts, and all have ended before the failure is told.
 * @throws what the first that failed has thrown; the reason of the signal
 */
export async function eachAtOnce<T>(
  items: Iterable<T>,
  { atOnce, signal }: { atOnce: number; signal: AbortSignal },
  work: (item: T, o: { signal: AbortSignal }) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const own = AbortSignal.any([stop.signal, signal]);
  const left = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const lane = async (): Promise<void> => {
    try {
      for (let next = left.next(); next.done !== true; next = left.next()) {
        own.throwIfAborted();
        // oxlint-disable-next-line no-await-in-loop -- each lane one at a time
        await work(next.value, { signal: own });
      }
    } catch (err) {
      failures.push(err);
      stop.abort(err);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  if (failures.length > 0) throw failures[0];
}
