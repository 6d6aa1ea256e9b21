import { rmSync } from 'node:fs';
import { copyFile, mkdtemp, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { findProgram } from '../../test/rig/requirements.ts';
import { cpuSeconds, median } from '../rig/cpu.ts';
import { describeMachine, idleMeter } from '../rig/machine.ts';
import type { Program } from '../rig/programs.ts';
import { idleAboveBareLibp2p } from './idle.ts';
import { startNginx, type Nginx } from './nginx.ts';
import { parseThroughputOptions, THROUGHPUT_HELP, type ThroughputOptions } from './options.ts';
import { measureParts, type Parts } from './parts.ts';
import { fetchBlob, PeerPath, peakRssBytes, pidOf } from './peer-path.ts';
import type { Layer, PathResult, Variant } from './peer-path.ts';
import { renderFigures, type Figures } from './report.ts';
import { Steps } from './steps.ts';

/** The parts get a pass of their own; with much less the compiler would be measured too. */
const WARM_UP_BYTES = 256 * 1024 * 1024;
const NO_NGINX =
  'no nginx on this machine, so nothing to compare a warm layer with: install nginx-light, or ' +
  'run test/rig/install.sh';
const READERS = 4;
const STEPS_PER_ROUND = 4;
/** Pushing, the memory figure and the idle figure. */
const STEPS_BESIDE = 3;
const PROGRAMS = ['taskset', 'curl'];
/** One for the receiver, one for the sender and what measures. */
const CORES_MIN = 2;
const GB = 1e9;
const BIN = path.join(import.meta.dirname, '..', '..', 'bin', 'main.ts');

const LANE: Variant = { name: 'lane', swarm: {} };
const STREAMS: Variant = { name: 'libp2p-flags', swarm: { lane: false } };
const PLAIN_NODE: Variant = {
  name: 'libp2p',
  swarm: { lane: false },
  command: [process.execPath, BIN],
};

type Layers = { warmUp: Layer; layer: Layer };

type Round = {
  lane: PathResult;
  streams: PathResult;
  plainNode: PathResult;
  parts: Parts;
  warm: { seconds: number; cpu: number };
  nginx: { seconds: number; cpu: number } | undefined;
};

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function rate(result: PathResult): number {
  return result.bytes / result.seconds;
}

async function measureRound(
  peers: PeerPath,
  layersOf: (variant: Variant) => Layers,
  files: { folder: string; source: string; nginx: Nginx | undefined },
  begin: (what: string) => void,
): Promise<Round> {
  const { layer } = layersOf(LANE);
  const { size } = layer;
  let warm = { seconds: 0, cpu: 0 };
  const again = async (receiver: Program): Promise<void> => {
    const before = cpuSeconds(pidOf(receiver));
    const seconds = await fetchBlob(receiver, layer);
    warm = { seconds, cpu: cpuSeconds(pidOf(receiver)) - before };
  };
  begin('from agent to agent over the lane');
  const lane = await peers.measure(LANE, layersOf(LANE), again);
  begin('over libp2p streams');
  const streams = await peers.measure(STREAMS, layersOf(STREAMS));
  begin('over libp2p streams without V8 flags');
  const plainNode = await peers.measure(PLAIN_NODE, layersOf(PLAIN_NODE));
  begin('the single steps');
  const parts = await measureParts(files.source, path.join(files.folder, 'scratch'), size);
  const nginx = await files.nginx?.read(path.basename(files.source), size);
  return { lane, streams, plainNode, parts, warm, nginx };
}

function receiverParts(parts: Parts): number {
  return parts.receiveTls + parts.hash + parts.write + parts.http;
}

function perByte(cpu: number, { bytes }: PathResult): number {
  return cpu / bytes;
}

function figuresOf(
  rounds: readonly Round[],
): Omit<Figures, 'peakRssBytes' | 'idleRssAboveBareLibp2pBytes'> {
  const mid = (of: (round: Round) => number): number => median(rounds.map(of));
  return {
    senderCpuSecondsPerGB: mid(({ lane }) => perByte(lane.senderCpu, lane) * GB),
    receiverCpuSecondsPerGB: mid(({ lane }) => perByte(lane.receiverCpu, lane) * GB),
    senderRatioToParts: mid(({ lane, parts }) => perByte(lane.senderCpu, lane) / parts.sendTls),
    receiverRatioToParts: mid(
      ({ lane, parts }) => perByte(lane.receiverCpu, lane) / receiverParts(parts),
    ),
    ratioToPlainTcp: mid(({ lane, parts }) => parts.plainSeconds / lane.seconds),
    ratioToStockLibp2p: mid(({ lane, plainNode }) => rate(lane) / rate(plainNode)),
    ratioToStockLibp2pWithFlags: mid(({ lane, streams }) => rate(lane) / rate(streams)),
    warmCpuRatioToRing: mid(({ warm, parts, lane }) => warm.cpu / lane.bytes / parts.http),
    warmCpuRatioToNginx: mid(({ warm, nginx }) => warm.cpu / (nginx?.cpu ?? Number.NaN)),
    warmRateRatioToNginx: mid(({ warm, nginx }) => (nginx?.seconds ?? Number.NaN) / warm.seconds),
  };
}

/** Each variant has content of its own, or the senders of the others would send too. */
async function pushLayers(
  peers: PeerPath,
  sizeBytes: number,
): Promise<(variant: Variant) => Layers> {
  const layers = new Map<Variant, Layers>();
  for (const variant of [LANE, STREAMS, PLAIN_NODE]) {
    // oxlint-disable no-await-in-loop -- one push after the other
    const warmUp = await peers.push(WARM_UP_BYTES, `warm-up-${variant.name}`);
    layers.set(variant, { warmUp, layer: await peers.push(sizeBytes, `layer-${variant.name}`) });
    // oxlint-enable no-await-in-loop
  }
  return (variant) => {
    const found = layers.get(variant);
    if (found === undefined) throw new Error(`no layer for ${variant.name}`);
    return found;
  };
}

function checkMachine(): void {
  if (process.platform !== 'linux') throw new Error('needs Linux, for its /proc and taskset');
  const cores = availableParallelism();
  if (cores < CORES_MIN) throw new Error(`needs ${CORES_MIN} processors, here is ${cores}`);
  const missing = PROGRAMS.filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) throw new Error(`needs ${missing.join(', ')} on the PATH`);
}

/** A folder that is removed when this process ends, in whatever way it can notice. */
async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-throughput-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

async function run(options: ThroughputOptions): Promise<void> {
  checkMachine();
  const folder = await makeFolder();
  say(`${describeMachine()}\nlayer ${formatByteSize(options.sizeBytes)}, data in ${folder}`);
  const peers = await PeerPath.start(folder);
  let nginx: Nginx | undefined;
  try {
    nginx = await startNginx(folder);
    if (nginx === undefined) say(NO_NGINX);
    const steps = new Steps(STEPS_BESIDE + STEPS_PER_ROUND * options.rounds);
    steps.begin('pushing the layers');
    const layersOf = await pushLayers(peers, options.sizeBytes);
    const source = path.join(folder, 'layer');
    await copyFile(peers.fileOf(layersOf(LANE).layer), source);
    const rounds: Round[] = [];
    const idle = idleMeter();
    for (let round = 1; round <= options.rounds; round++) {
      const begin = (what: string): void =>
        steps.begin(`round ${round} of ${options.rounds}: ${what}`);
      // oxlint-disable-next-line no-await-in-loop -- rounds do not share the machine
      rounds.push(await measureRound(peers, layersOf, { folder, source, nginx }, begin));
    }
    steps.begin(`${READERS} readers of ${formatByteSize(options.memorySizeBytes)}`);
    const memory = await peers.push(options.memorySizeBytes, 'memory');
    let peak = 0;
    const { warmUp } = layersOf(LANE);
    await peers.measure(LANE, { warmUp, layer: memory, readers: READERS }, async (receiver) => {
      peak = peakRssBytes(receiver);
    });
    steps.begin('idle with 50 peers');
    const idleRssAboveBareLibp2pBytes = await idleAboveBareLibp2p(peers, LANE);
    steps.end();
    const figures = { ...figuresOf(rounds), idleRssAboveBareLibp2pBytes, peakRssBytes: peak };
    say(`\n${renderFigures(figures)}\n${Math.round(idle() * 100)} % of the machine was idle`);
    if (options.json !== undefined) {
      await writeFile(options.json, `${JSON.stringify(figures, undefined, 2)}\n`);
    }
  } finally {
    await nginx?.stop();
    await peers.stop();
  }
}

// So that what this process leaves on the machine is removed, which happens when it exits.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

try {
  const options = parseThroughputOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(THROUGHPUT_HELP);
  else await run(options);
} catch (err) {
  process.stderr.write(`bench:throughput: ${messageOf(err)}\n`);
  process.exitCode = 1;
}
