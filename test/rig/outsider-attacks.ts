import { create, toBinary } from '@bufbuild/protobuf';
import { setImmediate } from 'node:timers/promises';
import type { Ask } from '../../agent/swarm/exchange-stream.ts';
import { received, trySend } from '../../agent/swarm/raw-peer.ts';
import type { RawPeer } from '../../agent/swarm/raw-peer.ts';
import { StreamWriter } from '../../agent/swarm/stream-writer.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import { encodeFrame } from '../../proto/swarm/frame-codec.ts';
import { RequestSchema } from '../../proto/swarm/messages_pb.ts';
import { encodeDigest } from '../../proto/trust/digest-bytes.ts';
import type { GrantBundle } from '../../proto/trust/grant.ts';
import { OutsiderMember, Questions } from './outsider-member.ts';
import { strangerReport } from './outsider-stranger.ts';
import type { Answer, OutsiderReport, OutsiderTask } from './outsider-task.ts';

const MIB = 1024 * 1024;
/** What follows the claim of 4 GiB, if the victim lets it. */
const FOLLOWING_MIB = 192;
const LENGTH_4_GIB = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]);
const MUXER_HEADER_BYTES = 12;
const UINT32_MAX = 0xffff_ffff;
const STREAMS = 10_000;
const MANIFESTS = 64;
const MANIFEST_BYTES = 5 * MIB;
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CUT_TIMEOUT_MS = 10_000;

/** Does what the task names. */
export function attack(task: OutsiderTask): Promise<OutsiderReport> {
  switch (task.attack) {
    case 'stranger':
      return strangerReport(task);
    case 'no-grant':
      return withoutGrant(task);
    case 'frame-of-4-gib':
      return hugeFrames(task);
    case 'index-minus-one':
      return indexMinusOne(task);
    case 'streams':
      return manyStreams(task);
    default:
      return bigManifests(task);
  }
}

async function withoutGrant(task: OutsiderTask): Promise<OutsiderReport> {
  await using member = await OutsiderMember.join(task);
  await using peer = await member.connect();
  const questions = new Questions(await peer.exchange(), task.victim.peerId);
  const right = await member.grant(task.image);
  const other = await member.grant(task.other);
  const stretched = { ...other, digests: [...other.digests, ...right.digests] };
  const attempts: [label: string, bundle: GrantBundle | undefined][] = [
    ['none', undefined],
    ['forged', { ...right, grant: withLastBitFlipped(right.grant) }],
    ['stretched', stretched],
    ['other', other],
    ['right', right],
  ];
  for (const [label, bundle] of attempts) {
    // oxlint-disable-next-line no-await-in-loop -- the next grant comes after the last refusal
    if (bundle) await questions.ask(label, { kind: 'openGrant', bundle });
    // oxlint-disable-next-line no-await-in-loop -- the next grant comes after the last refusal
    for (const ask of contentQuestions(task)) await questions.ask(label, ask);
  }
  return { answers: questions.answers, streams: 0 };
}

function contentQuestions({ image, layer }: OutsiderTask): Ask[] {
  const digest = parseDigest(layer);
  return [
    { kind: 'have', digest, knownCount: 0, waitMs: 0 },
    { kind: 'getStatement', digest },
    { kind: 'getHashes', digest },
    { kind: 'getChunk', digest, index: 0 },
    { kind: 'getBlob', digest: parseDigest(image.manifest) },
  ];
}

/** An envelope ends in its signature. */
function withLastBitFlipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const last = copy.length - 1;
  copy[last] = (copy[last] ?? 0) ^ 1;
  return copy;
}

async function hugeFrames(task: OutsiderTask): Promise<OutsiderReport> {
  await using member = await OutsiderMember.join(task);
  const slice = Buffer.alloc(MIB);
  const answers: Answer[] = [];
  {
    await using peer = await member.connect();
    const header = Buffer.alloc(MUXER_HEADER_BYTES);
    header.writeUInt32BE(1, 4);
    header.writeUInt32BE(UINT32_MAX, 8);
    peer.sendBelowMuxer(header);
    for (let sent = 0; sent < FOLLOWING_MIB && peer.connection.status === 'open'; sent++) {
      peer.sendBelowMuxer(slice);
      // oxlint-disable-next-line no-await-in-loop -- bytes go out in order
      await setImmediate();
    }
    answers.push({ asked: 'muxer frame', status: await ending(peer), bytes: 0 });
  }
  await using peer = await member.connect();
  const stream = await peer.exchange();
  const counting = received(stream);
  const writer = new StreamWriter(stream);
  try {
    await writer.write(LENGTH_4_GIB);
    // oxlint-disable-next-line no-await-in-loop -- bytes go out in order
    for (let sent = 0; sent < FOLLOWING_MIB; sent++) await writer.write(slice);
  } catch {
    // Cut off in the middle, as it should be.
  }
  answers.push({ asked: 'exchange frame', status: await ending(peer), bytes: await counting });
  return { answers, streams: 0 };
}

async function indexMinusOne(task: OutsiderTask): Promise<OutsiderReport> {
  await using member = await OutsiderMember.join(task);
  await using peer = await member.connect();
  const questions = new Questions(await peer.exchange(), task.victim.peerId);
  const bundle = await member.grant(task.image);
  await questions.ask('right', { kind: 'openGrant', bundle });
  const minusOne = create(RequestSchema, {
    id: 1,
    op: {
      case: 'getChunk',
      value: { digest: encodeDigest(parseDigest(task.layer)), index: UINT32_MAX },
    },
  });
  const stream = await peer.exchange();
  const counting = received(stream);
  trySend(stream, encodeFrame(toBinary(RequestSchema, minusOne)));
  const status = await ending(peer);
  const answer = { asked: 'index -1', status, bytes: await counting };
  return { answers: [...questions.answers, answer], streams: 0 };
}

async function manyStreams(task: OutsiderTask): Promise<OutsiderReport> {
  await using member = await OutsiderMember.join(task);
  await using peer = await member.connect();
  await Promise.allSettled(Array.from({ length: STREAMS }, () => peer.exchange()));
  const open = peer.connection.streams.filter((stream) => stream.status === 'open');
  return { answers: [], streams: open.length };
}

/** Half of them say how long they are, the others just go on. */
async function bigManifests(task: OutsiderTask): Promise<OutsiderReport> {
  const { hubUrl, image, authorization } = task;
  const bytes = Buffer.from(`{"a":"${'x'.repeat(MANIFEST_BYTES)}"}`);
  const headers = { authorization, 'content-type': MANIFEST_TYPE };
  const push = async (index: number): Promise<Answer> => {
    const url = `${hubUrl}/v2/${image.repository}/manifests/big${index}`;
    const body = index % 2 === 0 ? bytes : new Blob([bytes]).stream();
    const sent = fetch(url, { method: 'PUT', headers, body, duplex: 'half' });
    // The hub may answer and hang up before all is sent; the client then sees either.
    const status = await sent.then(
      (answer) => String(answer.status),
      () => 'cut',
    );
    return { asked: `manifest ${index}`, status, bytes: 0 };
  };
  const answers = await Promise.all(Array.from({ length: MANIFESTS }, (_, index) => push(index)));
  return { answers, streams: 0 };
}

/** Whether the victim ends the connection. */
async function ending(peer: RawPeer): Promise<'cut' | 'open'> {
  const limit = AbortSignal.timeout(CUT_TIMEOUT_MS);
  const late = new Promise<'open'>((resolve) => {
    limit.addEventListener('abort', () => resolve('open'), { once: true });
  });
  return Promise.race([peer.ended.then(() => 'cut' as const), late]);
}
