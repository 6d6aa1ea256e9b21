import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { parseReference, parseRepository } from '../../proto/oci/name.ts';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { HUB_NAME, startCluster, type Cluster, type DemoProgram } from './cluster.ts';
import { generateImage, type PushableImage } from './generated-image.ts';
import { DEMO_HELP, parseDemoOptions, type DemoOptions } from './options.ts';
import { Progress } from './progress.ts';
import { pullImage } from './pull.ts';
import { renderTable, summarise, type AgentFigures, type DemoFigures } from './report.ts';
import { scrape } from './scrape.ts';
import { upstreamImage } from './upstream-image.ts';

const REPOSITORY = 'demo/image';
const TAG = 'v1';
const PUSH_TIMEOUT_MS = 60 * 60_000;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function push(cluster: Cluster, options: DemoOptions): Promise<number> {
  const signal = AbortSignal.timeout(PUSH_TIMEOUT_MS);
  const from = options.image === undefined ? undefined : await upstreamImage(options.image, signal);
  try {
    const image: PushableImage = from?.image ?? generateImage(options.sizeBytes);
    const client = new RegistryClient({
      baseUrl: cluster.hub.url,
      allowPlainHttp: true,
      credentials: cluster.credentials,
    });
    const repository = parseRepository(REPOSITORY);
    for (const blob of image.blobs) {
      const source = async function* (): AsyncGenerator<Buffer> {
        yield* blob.read();
      };
      await client.pushBlob(repository, blob.digest, blob.size, source, { signal });
    }
    const { manifest, mediaType } = image;
    await client.pushManifest(repository, parseReference(TAG), manifest, mediaType, { signal });
    await client.close();
    return image.blobs.reduce((total, blob) => total + blob.size, manifest.length);
  } finally {
    await from?.close();
  }
}

async function pullOnAll(cluster: Cluster, imageBytes: number): Promise<number[]> {
  const progress = new Progress(
    cluster.agents.map(({ name }) => name),
    imageBytes,
  );
  try {
    return await Promise.all(
      cluster.agents.map(async ({ url }, index) => {
        const target = { mirror: url, repository: REPOSITORY, tag: TAG, namespace: HUB_NAME };
        const result = await pullImage(target, (count) => progress.add(index, count));
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

async function figuresOf(agent: DemoProgram, seconds: number): Promise<AgentFigures> {
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

async function measure(cluster: Cluster, options: DemoOptions): Promise<DemoFigures> {
  const what =
    options.image ?? `a generated image, largest layer ${formatByteSize(options.sizeBytes)}`;
  say(`Pushing ${what} to the hub ...`);
  const imageBytes = await push(cluster, options);
  say(`${options.agents} agents pull ${formatByteSize(imageBytes)} at the same moment:`);
  const seconds = await pullOnAll(cluster, imageBytes);
  const agents = await Promise.all(
    cluster.agents.map((agent, index) => figuresOf(agent, seconds[index] ?? 0)),
  );
  const hub = await scrape(`${cluster.hub.opsUrl}/metrics`);
  const hubBytes = hub.sum('flotilla_hub_blob_sent_bytes_total');
  const sum = summarise(agents, { imageBytes, hubBytes });
  say(`\nEvery byte on every agent has the right SHA-256.\n\n${renderTable(agents, sum)}\n`);
  return sum;
}

async function run(options: DemoOptions): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-demo-'));
  const interrupted = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  let cluster: Cluster | undefined;
  try {
    say(`Starting a hub and ${options.agents} agents, data in ${folder} ...`);
    cluster = await startCluster(folder, options.agents);
    const figures = await measure(cluster, options);
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
    await interrupted;
  } finally {
    await cluster?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  const options = parseDemoOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(DEMO_HELP);
  else await run(options);
} catch (err) {
  process.stderr.write(`demo: ${messageOf(err)}\n`);
  process.exitCode = 1;
}
