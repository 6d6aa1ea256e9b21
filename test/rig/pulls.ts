import { assertBytes } from './fleet.ts';
import type { FleetNode, Published } from './fleet.ts';
import { until } from './until.ts';

const PULL_TIMEOUT_MS = 120_000;
const PROGRESS_TIMEOUT_MS = 60_000;

export type Source = 'local' | 'peer' | 'hub' | 'upstream';

/** What a pull asks for, and what must lie in the store afterwards. */
export type Pullable = Pick<Published, 'reference' | 'manifestDigest' | 'config' | 'layers'>;

/** containerd of the node pulls the image, and every blob hashes to its name. */
export async function pulls(
  node: FleetNode,
  image: Pullable,
  reference: string = image.reference,
): Promise<void> {
  await node.containerd.pull(reference, { timeoutMs: PULL_TIMEOUT_MS });
  await assertBytes(node.containerd, image);
}

/** The same node asks once more from nothing: a poisoned ingest would show here. */
export async function pullsAgain(
  node: FleetNode,
  image: Pullable,
  reference: string = image.reference,
): Promise<void> {
  await node.containerd.remove(reference);
  await pulls(node, image, reference);
}

/** Bytes of content the node's agent fetched from these sources since it started. */
export async function fetchedBytes(node: FleetNode, ...sources: Source[]): Promise<number> {
  const metrics = await node.agent.metrics();
  return sources.reduce(
    (sum, source) => sum + metrics.sum('flotilla_agent_fetched_bytes_total', { source }),
    0,
  );
}

/**
 * Starts a pull, waits until the agent has fetched so many bytes of it, and does something to
 * the fleet then. Resolves when the pull has succeeded all the same.
 */
export async function pullsDespite(
  trial: { node: FleetNode; image: Pullable; afterBytes: number; sources: Source[] },
  interrupt: (fetched: number) => Promise<void>,
): Promise<void> {
  const { node, image, afterBytes, sources } = trial;
  const base = await fetchedBytes(node, ...sources);
  const pulling = pulls(node, image);
  // A pull that fails early is reported below, not as an unhandled rejection.
  pulling.catch(() => {});
  const what = `${afterBytes} bytes of ${image.reference} on ${node.machine.name}`;
  const fetched = await until(what, PROGRESS_TIMEOUT_MS, async () => {
    const now = (await fetchedBytes(node, ...sources)) - base;
    return now >= afterBytes ? now : undefined;
  });
  await interrupt(fetched);
  await pulling;
}
