import { once } from 'node:events';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { messageOf } from '../../proto/std/errors.ts';
import type { Program } from '../rig/programs.ts';
import { HUB_NAME, startCluster, type Cluster } from './cluster.ts';
import { generateImage } from './generated-image.ts';
import { DEMO_HELP, parseDemoOptions, UsageError, type DemoOptions } from './options.ts';
import { Progress } from './progress.ts';
import { pullImage } from './pull.ts';
import { pushImage } from './push.ts';
import { renderTable, summarise, type AgentFigures, type DemoFigures } from './report.ts';
import { scrape } from './scrape.ts';
import { upstreamImage } from './upstream-image.ts';

const REPOSITORY = 'demo/image';
const TAG = 'v1';
const PUSH_TIMEOUT_MS = 60 * 60_000;
/** All layers of a generated image, in units of the largest, and a little for the programs. */
const IMAGE_PARTS = 1 + 1 / 8 + 1 / 64;
const ROOM_SPARE_BYTES = 64 * 1024 ** 2;
const USAGE_EXIT_CODE = 2;
/** What a shell adds to the number of the signal that ended a program. */
const SIGNAL_EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Why a demo ends before its time. */
class Interruption extends Error {
  readonly exitCode: number;

  constructor(name: keyof typeof SIGNAL_EXIT_CODES) {
    super(`interrupted by ${name}`);
    this.exitCode = SIGNAL_EXIT_CODES[name];
  }
}

/** Sets the exit code of a signal instead of failing with what it tore. */
async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const signal = interruption();
  try {
    await work(signal);
  } catch (err) {
    const reason: unknown = signal.reason;
    if (!(reason instanceof Interruption)) throw err;
    process.exitCode = reason.exitCode;
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Aborts at the first signal; a second one ends everything at once. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(SIGNAL_EXIT_CODES[name]);
      controller.abort(new Interruption(name));
    });
  }
  return controller.signal;
}

async function push(
  cluster: Cluster,
  options: DemoOptions,
  interrupted: AbortSignal,
): Promise<number> {
  const signal = AbortSignal.any([interrupted, AbortSignal.timeout(PUSH_TIMEOUT_MS)]);
  const from = options.image === undefined ? undefined : await upstreamImage(options.image, signal);
  const { hub, credentials } = cluster;
  const target = { url: hub.url, credentials, repository: REPOSITORY, tag: TAG };
  try {
    return await pushImage(target, from?.image ?? generateImage(options.sizeBytes), signal);
  } finally {
    await from?.close();
  }
}

async function pullOnAll(
  cluster: Cluster,
  imageBytes: number,
  signal: AbortSignal,
): Promise<number[]> {
  const progress = new Progress(
    cluster.agents.map(({ name }) => name),
    imageBytes,
  );
  try {
    return await Promise.all(
      cluster.agents.map(async ({ url }, index) => {
        const target = { mirror: url, repository: REPOSITORY, tag: TAG, namespace: HUB_NAME };
        const onBytes = (count: number): void => progress.add(index, count);
        const result = await pullImage(target, { onBytes, signal });
        if (result.bytes !== imageBytes) {
          throw new Error(`${url} gave ${result.bytes} of ${imageBytes} bytes`);
        }
        return result.seconds;
      }),
    );
  } finally {
    progress.stop();
  }
}

async function figuresOf(agent: Program, seconds: number): Promise<AgentFigures> {
  const metrics = await scrape(`${agent.opsUrl}/metrics`);
  const bytes = (source: string): number =>
    metrics.sum('flotilla_agent_fetched_bytes_total', { source });
  return {
    name: agent.name,
    hubBytes: bytes('hub'),
    peerBytes: bytes('peer'),
    chunksVerified: metrics.sum('flotilla_agent_chunks_verified_total'),
    chunksRejected: metrics.sum('flotilla_agent_chunks_rejected_total'),
    seconds,
  };
}

async function measure(
  cluster: Cluster,
  options: DemoOptions,
  signal: AbortSignal,
): Promise<DemoFigures> {
  const what =
    options.image ?? `a generated image, largest layer ${formatByteSize(options.sizeBytes)}`;
  say(`Pushing ${what} to the hub ...`);
  const imageBytes = await push(cluster, options, signal);
  say(`Pulling ${formatByteSize(imageBytes)} on ${agentsOf(options)} at the same moment:`);
  const seconds = await pullOnAll(cluster, imageBytes, signal);
  const agents = await Promise.all(
    cluster.agents.map((agent, index) => figuresOf(agent, seconds[index] ?? 0)),
  );
  const hub = await scrape(`${cluster.hub.opsUrl}/metrics`);
  const hubBytes = hub.sum('flotilla_hub_blob_sent_bytes_total');
  const sum = summarise(agents, { imageBytes, hubBytes });
  say(`\nEvery byte on every agent has the right SHA-256.\n\n${renderTable(agents, sum)}\n`);
  return sum;
}

function agentsOf({ agents }: DemoOptions): string {
  return agents === 1 ? '1 agent' : `${agents} agents`;
}

/** Hub and agents each keep the image. @throws Error when the disk is too small for that */
async function needRoom(folder: string, { agents, sizeBytes, image }: DemoOptions): Promise<void> {
  if (image !== undefined) return;
  const needed = (agents + 1) * sizeBytes * IMAGE_PARTS + ROOM_SPARE_BYTES;
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize >= needed) return;
  const [wanted, free] = [formatByteSize(needed), formatByteSize(bavail * bsize)];
  throw new Error(
    `needs ${wanted} in ${tmpdir()}, which has ${free} free; ` +
      'lower --size or --agents, or name another folder in TMPDIR',
  );
}

async function run(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-demo-'));
  let cluster: Cluster | undefined;
  try {
    await needRoom(folder, options);
    say(`Starting a hub and ${agentsOf(options)}, data in ${folder} ...`);
    cluster = await startCluster(folder, options.agents, { signal });
    const figures = await measure(cluster, options, signal);
    if (options.json !== undefined) {
      await writeFile(options.json, `${JSON.stringify(figures, undefined, 2)}\n`);
    }
    if (options.once) return;
    const mirror = cluster.agents[0]?.url ?? '';
    say(`hub      ${cluster.hub.url}/v2/_catalog  metrics ${cluster.hub.opsUrl}/metrics`);
    for (const agent of cluster.agents) {
      say(`${agent.name}  mirror ${agent.url}  metrics ${agent.opsUrl}/metrics`);
    }
    say(`try      curl ${mirror}/v2/${REPOSITORY}/manifests/${TAG}\nCtrl-C ends it.`);
    if (!signal.aborted) await once(signal, 'abort');
  } finally {
    if (signal.aborted) say('Stopping ...');
    await cluster?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  const options = parseDemoOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(DEMO_HELP);
  else await interruptible((signal) => run(options, signal));
} catch (err) {
  const hint = err instanceof UsageError ? '; see npm run demo -- --help' : '';
  process.stderr.write(`demo: ${messageOf(err)}${hint}\n`);
  process.exitCode = err instanceof UsageError ? USAGE_EXIT_CODE : 1;
}
