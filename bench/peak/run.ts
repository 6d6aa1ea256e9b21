import { availableParallelism } from 'node:os';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { cpuSeconds } from '../rig/cpu.ts';
import { BackedMemory } from '../rig/backed-memory.ts';
import { idleMeter, settle } from '../rig/machine.ts';
import { seededRandom } from '../rig/random.ts';
import { arrive } from './arrivals.ts';
import { boundSeconds } from './bound.ts';
import { causeFailure, plantLiars } from './failures.ts';
import type { Scene } from './failures.ts';
import { nextVersion, planLayers } from './image-plan.ts';
import type { PeakOptions } from './options.ts';
import { Progress } from './progress.ts';
import type { Measured } from './figures.ts';
import { Sampler } from './sampler.ts';
import { Setting } from './setting.ts';
import { Timeline } from './timeline.ts';

const SETTLE_MS = 20_000;
const OVER = new Error('the peak is over');
/** Memory that a received byte takes: in a file, on its way, and for who deals with it. */
const MEMORY_PER_BYTE = 1.35;
const MEMORY_AHEAD_BYTES = 512 * 1024 ** 2;

/** CPU seconds that the parts of a run used between barrier and last byte. */
export type CpuUse = {
  hub: number;
  agents: number;
  clients: number;
  /** This bench, the kernel's own threads and all other programs. */
  others: number;
  /** Share of the machine that hub, agents and clients used, 0 to 1, and that nobody used. */
  ownPart: number;
  idlePart: number;
};

export type PeakResult = Measured & { cpu: CpuUse; events: readonly string[] };

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Starts everything, measures one peak, and stops everything. */
export async function runPeak(options: PeakOptions): Promise<PeakResult> {
  const random = seededRandom(options.seed);
  say(`Starting a hub and ${options.agents} agents, each with its own network ...`);
  await using setting = await Setting.start(options);
  if (options.warmUpBytes > 0) await warmUp(setting, options);
  const { imageBytes, tag } = await publish(setting, options);
  const events: string[] = [];
  if (options.failure === 'liars') {
    events.push(`liars: ${(await plantLiars(setting.fleet, random)).join(', ')}`);
  }
  await setting.shape();
  const wanted = MEMORY_PER_BYTE * options.agents * imageBytes + MEMORY_AHEAD_BYTES;
  using memory = await BackedMemory.take(wanted);
  const plainGoodput = await setting.plainGoodput();
  if (!(await settle(SETTLE_MS))) {
    events.push('The machine was not quiet before the barrier: something else is running on it.');
  }
  say(`Pulling ${formatByteSize(imageBytes)} on every node:`);
  const measured = await measure(setting, options, { imageBytes, tag, random, events, memory });
  return { ...measured, imageBytes, plainGoodput, events };
}

/** Has every agent pull another image, with links that have no limit yet. */
async function warmUp(setting: Setting, options: PeakOptions): Promise<void> {
  const sizeBytes = options.warmUpBytes;
  say(`Pulling another image of ${formatByteSize(sizeBytes)} on every node ...`);
  await setting.push('warm-up', planLayers({ sizeBytes, layers: 1, seed: options.seed + 0.5 }));
  await pullEverywhere(setting, 'warm-up');
}

async function pullEverywhere(setting: Setting, tag: string): Promise<void> {
  const pulls = setting.clients.map((client, index) =>
    client.perform(setting.pullTask(setting.fleet.node(index + 1).machine, tag)),
  );
  await Promise.all(pulls);
}

/** Pushes what is to be pulled; `imageBytes` are those that no node has yet. */
async function publish(
  setting: Setting,
  options: PeakOptions,
): Promise<{ imageBytes: number; tag: string }> {
  const layers = planLayers(options);
  say(`Pushing an image of ${formatByteSize(options.sizeBytes)} ...`);
  const imageBytes = await setting.push('v1', layers);
  if (options.arrivals !== 'second-image') return { imageBytes, tag: 'v1' };
  say('Pulling it on every node, and pushing the next version of it ...');
  await pullEverywhere(setting, 'v1');
  const next = nextVersion(layers, options.seed);
  const whole = await setting.push('v2', next);
  const shared = next.slice(0, -1).reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  return { imageBytes: whole - shared, tag: 'v2' };
}

type Peak = {
  imageBytes: number;
  tag: string;
  random: () => number;
  events: string[];
  memory: BackedMemory;
};

async function measure(
  setting: Setting,
  options: PeakOptions,
  peak: Peak,
): Promise<Pick<PeakResult, 'outcomes' | 'samples' | 'cpu'>> {
  const { imageBytes, events, random, memory } = peak;
  const { fleet } = setting;
  const expectedSeconds = boundSeconds(options, imageBytes);
  const sampler: Sampler = new Sampler(fleet.network, {
    expectedSeconds,
    onSample: () => {
      memory.freeTo(sampler.receivedByOthers('hub') * MEMORY_PER_BYTE + MEMORY_AHEAD_BYTES);
    },
  });
  const timeline =
    options.timeline === undefined ? undefined : new Timeline(fleet.nodes, options.timeline);
  const victims = new Set<string>();
  const stop = new AbortController();
  const meter = cpuMeter(setting);
  await sampler.start();
  timeline?.start();
  const progress = new Progress(
    setting.clients.map(({ name }) => name),
    imageBytes,
    () => describe(sampler, imageBytes),
  );
  const { hubCopies } = options;
  const scene = { fleet, random, sampler, imageBytes, boundSeconds: expectedSeconds, hubCopies };
  const trouble = failureOf(options, scene, victims, stop.signal);
  // Told when the clients are done.
  trouble.catch(() => {});
  try {
    const pullers = setting.clients.map((client, index) => {
      const task = setting.pullTask(fleet.node(index + 1).machine, peak.tag);
      const pull = () => client.perform(task, (count) => progress.add(client.name, count));
      return { name: client.name, pull };
    });
    const { barrierMs, outcomes } = await arrive(pullers, options, { imageBytes, random });
    const cpu = meter();
    await sampler.stop();
    stop.abort(OVER);
    events.push(...(await trouble));
    const samples = sampler.samples.map((sample) => ({ ...sample, atMs: sample.atMs - barrierMs }));
    return { outcomes: outcomes.filter(({ name }) => !victims.has(name)), samples, cpu };
  } finally {
    stop.abort(OVER);
    await trouble.catch(() => {});
    await timeline?.stop();
    progress.stop();
  }
}

/** Has happen what was asked for, and tells what did. */
async function failureOf(
  { failure }: PeakOptions,
  scene: Scene,
  victims: Set<string>,
  signal: AbortSignal,
): Promise<string[]> {
  if (failure === undefined) return [];
  try {
    return [await causeFailure(failure, scene, victims, signal)];
  } catch (err) {
    if (err !== OVER) throw err;
    return ['The peak was over before anything went wrong.'];
  }
}

function describe(sampler: Sampler, imageBytes: number): string {
  const copies = (sampler.sentBy('hub') / imageBytes).toFixed(2);
  const idle = Math.round(sampler.last.idle * 100);
  return `the hub sent ${copies} copies, CPU ${idle} % idle`;
}

function cpuMeter({ fleet, clients }: Setting): () => CpuUse {
  const idle = idleMeter();
  const started = performance.now();
  const hubUse = usedSince([fleet.hub.running.pid]);
  const agentUse = usedSince(fleet.nodes.map(({ agent }) => agent.running.pid));
  const clientUse = usedSince(clients.map(({ pid }) => pid));
  return () => {
    const use = { hub: hubUse(), agents: agentUse(), clients: clientUse() };
    const idlePart = idle();
    const seconds = ((performance.now() - started) / 1000) * availableParallelism();
    const own = use.hub + use.agents + use.clients;
    const others = Math.max(0, seconds * (1 - idlePart) - own);
    return { ...use, others, ownPart: own / seconds, idlePart };
  };
}

/** CPU seconds the processes use from now on; those killed meanwhile do not count. */
function usedSince(pids: readonly number[]): () => number {
  const before = pids.map((pid) => cpuSeconds(pid));
  return () =>
    pids.reduce((sum, pid, index) => {
      try {
        return sum + cpuSeconds(pid) - (before[index] ?? 0);
      } catch {
        return sum;
      }
    }, 0);
}
