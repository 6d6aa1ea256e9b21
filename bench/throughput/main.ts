import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { formatByteSize } from '../../proto/std/byte-size.ts';
import { messageOf } from '../../proto/std/errors.ts';
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

/** The parts get a pass of their own; with much less the compiler would be measured too. */
const WARM_UP_BYTES = 256 * 1024 * 1024;
const NO_NGINX =
  'no nginx on this machine, so nothing to compare a warm layer with: install nginx-light, or ' +
  'run test/rig/install.sh';
const READERS = 4;
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
): Promise<Round> {
  const { layer } = layersOf(LANE);
  const { size } = layer;
  let warm = { seconds: 0, cpu: 0 };
  const again = async (receiver: Program): Promise<void> => {
    const before = cpuSeconds(pidOf(receiver));
    const seconds = await fetchBlob(receiver, layer);
    warm = { seconds, cpu: cpuSeconds(pidOf(receiver)) - before };
  };
  const lane = await peers.measure(LANE, layersOf(LANE), again);
  const streams = await peers.measure(STREAMS, layersOf(STREAMS));
  const plainNode = await peers.measure(PLAIN_NODE, layersOf(PLAIN_NODE));
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

async function run(options: ThroughputOptions): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-throughput-'));
  say(`${describeMachine()}\nlayer ${formatByteSize(options.sizeBytes)}, data in ${folder}`);
  const peers = await PeerPath.start(folder);
  let nginx: Nginx | undefined;
  try {
    const layersOf = await pushLayers(peers, options.sizeBytes);
    const source = path.join(folder, 'layer');
    await copyFile(peers.fileOf(layersOf(LANE).layer), source);
    nginx = await startNginx(folder);
    if (nginx === undefined) say(NO_NGINX);
    const rounds: Round[] = [];
    const idle = idleMeter();
    for (let round = 1; round <= options.rounds; round++) {
      say(`round ${round} of ${options.rounds}`);
      // oxlint-disable-next-line no-await-in-loop -- rounds do not share the machine
      rounds.push(await measureRound(peers, layersOf, { folder, source, nginx }));
    }
    const memory = await peers.push(options.memorySizeBytes, 'memory');
    say(`${READERS} readers of ${formatByteSize(memory.size)} ...`);
    let peak = 0;
    const { warmUp } = layersOf(LANE);
    await peers.measure(LANE, { warmUp, layer: memory, readers: READERS }, async (receiver) => {
      peak = peakRssBytes(receiver);
    });
    say('idle with 50 peers ...');
    const idleRssAboveBareLibp2pBytes = await idleAboveBareLibp2p(peers, LANE);
    const figures = { ...figuresOf(rounds), idleRssAboveBareLibp2pBytes, peakRssBytes: peak };
    say(`\n${renderFigures(figures)}\n${Math.round(idle() * 100)} % of the machine was idle`);
    if (options.json !== undefined) {
      await writeFile(options.json, `${JSON.stringify(figures, undefined, 2)}\n`);
    }
  } finally {
    await nginx?.stop();
    await peers.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  const options = parseThroughputOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(THROUGHPUT_HELP);
  else await run(options);
} catch (err) {
  process.stderr.write(`bench:throughput: ${messageOf(err)}\n`);
  process.exitCode = 1;
}
