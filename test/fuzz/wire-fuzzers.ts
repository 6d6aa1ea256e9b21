import { layoutOf } from '../../proto/chunks/layout.ts';
import { ForwardRequest } from '../../hub/replicas/forward-body.ts';
import { HubLeavesQuestion, HubQuestion, HubRefusal } from '../../hub/upstream/hub-question.ts';
import { parseBody } from '../../proto/hubapi/body.ts';
import {
  AnnounceRequest,
  AnnounceResponse,
  EnrolRequest,
  EnrolResponse,
  GrantRequest,
  GrantResponse,
  KeysResponse,
  MembersResponse,
  RenewRequest,
  RenewResponse,
  TagRequest,
  TagResponse,
} from '../../proto/hubapi/schemas.ts';
import { digestFromBytes, digestOf } from '../../proto/oci/digest.ts';
import { ChunkBitmap } from '../../proto/swarm/bitmap.ts';
import { encodeFrame, FrameReader } from '../../proto/swarm/frame-codec.ts';
import { decodeHello, encodeHello } from '../../proto/swarm/hello.ts';
import { decodeLaneHave, encodeLaneHave } from '../../proto/swarm/lane.ts';
import { decodeRequest, encodeRequest, type SwarmRequest } from '../../proto/swarm/request.ts';
import { decodeResponse, encodeResponse, type SwarmResponse } from '../../proto/swarm/response.ts';
import type { Fuzzer } from './campaign.ts';

const MIB = 1024 ** 2;
const FRAME_MAX = 2000;
const BUFFER_MAX = 9000;
const digest = digestOf(Buffer.from('blob'));
const long = digestFromBytes('sha512', Buffer.alloc(64, 3));
const SWARM = ['SwarmError'];

const REQUESTS: SwarmRequest[] = [
  { id: 1, kind: 'openGrant', bundle: { grant: Buffer.from('grant'), digests: [digest, long] } },
  { id: 2, kind: 'have', digest, knownCount: 7, waitMs: 1000 },
  { id: 3, kind: 'getChunk', digest, index: 16_383 },
  { id: 4, kind: 'getHashes', digest },
  { id: 5, kind: 'getStatement', digest: long },
  { id: 6, kind: 'getBlob', digest },
  { id: 7, kind: 'getGrant', namespace: 'hub', repository: 'library/a', digest },
  { id: 8, kind: 'getPeers', limit: 32 },
  { id: 9, kind: 'getTag', namespace: 'hub', repository: 'library/a', tag: 'v1' },
  { id: 10, kind: 'unknown' },
];

const size = 70 * MIB + 1;
const { chunkCount } = layoutOf(size);
const some = new ChunkBitmap(chunkCount);
some.set(70);
const EMPTY = new ChunkBitmap(0);
const RESPONSES: SwarmResponse[] = [
  { id: 1, status: 'ok', bodyBytes: 4 * MIB },
  {
    id: 2,
    status: 'ok',
    bodyBytes: 0,
    result: {
      kind: 'availability',
      availability: { size, chunkCount, bitmap: some, complete: false },
    },
  },
  {
    id: 3,
    status: 'busy',
    bodyBytes: 0,
    result: { kind: 'grant', bundle: { grant: Buffer.of(1), digests: [digest] } },
  },
  {
    id: 4,
    status: 'ok',
    bodyBytes: 0,
    result: { kind: 'peers', memberships: [Buffer.of(1, 2)] },
  },
];

function same(a: Uint8Array, b: Uint8Array, what: string): void {
  if (Buffer.compare(a, b) !== 0) throw new Error(`${what} changes on its way`);
}

/** Pushes the input in slices that its first byte chooses, and reads frames and raw bytes. */
function readFrames(input: Buffer): void {
  const reader = new FrameReader({ maxBytes: FRAME_MAX, bufferMaxBytes: BUFFER_MAX });
  const step = 1 + (input[0] ?? 0) * 9;
  let taken = 0;
  for (let at = 1; at < input.length; at += step) {
    const slice = input.subarray(at, at + step);
    reader.push(slice);
    if (reader.buffered > BUFFER_MAX) throw new Error('more bytes held than allowed');
    for (let frame = reader.readFrame(); frame !== undefined; frame = reader.readFrame()) {
      if (frame.length > FRAME_MAX) throw new Error('a frame above the limit');
      taken += frame.length + 1;
      taken += reader.readRaw(3)?.length ?? 0;
    }
  }
  if (taken > 2 * input.length) throw new Error('more bytes came out than went in');
}

/** A decoder of a message: what it accepts comes back from its own encoding unchanged. */
function message<T>(
  name: string,
  valid: Uint8Array[],
  decode: (bytes: Uint8Array) => T,
  encode: (value: T) => Uint8Array,
): Fuzzer {
  return {
    name,
    corpus: valid.map((bytes) => Buffer.from(bytes)),
    refusals: SWARM,
    run: (input) => {
      const bytes = encode(decode(input));
      same(encode(decode(bytes)), bytes, name);
    },
  };
}

const text = `sha256:${'a'.repeat(64)}`;
const BODIES = [
  [
    EnrolRequest,
    {
      token: 't',
      node: 'n',
      peerId: 'p',
      addresses: ['::1'],
      libp2pPort: 1,
      lanePort: 0,
      version: '',
    },
  ],
  [
    EnrolResponse,
    { fleetId: 'f', keyBundle: 'AA==', membership: '', hubNames: [], membersVersion: 1 },
  ],
  [KeysResponse, { keyBundle: 'AAAA' }],
  [RenewRequest, { addresses: [], libp2pPort: 65_535, lanePort: 0, version: '1' }],
  [RenewResponse, { membership: 'AA==', keyBundle: '' }],
  [MembersResponse, { version: 3, memberships: ['AA=='], revokedSerials: [1, 2] }],
  [GrantRequest, { namespace: 'hub', repository: 'a', digest: text }],
  [GrantResponse, { grant: '', digests: [text] }],
  [TagRequest, { namespace: 'hub', repository: 'a', tag: 'v1' }],
  [TagResponse, { statement: 'AA==' }],
  [
    AnnounceRequest,
    {
      full: true,
      downloads: [
        {
          namespace: 'hub',
          repository: 'a',
          digest: text,
          size: 9,
          complete: false,
          have: 'AA==',
          hubChunksWanted: 1,
        },
      ],
    },
  ],
  [
    AnnounceResponse,
    { intervalMs: 1, downloads: [{ digest: text, peers: [''], hubChunks: [0], retryAfterMs: 2 }] },
  ],
  [
    ForwardRequest,
    {
      epoch: 1,
      member: { peerId: 'p', zone: '', certificate: 'AAAA' },
      full: true,
      blobs: [
        {
          digest: `sha256:${'a'.repeat(64)}`,
          size: 9,
          have: '',
          hubChunksWanted: 1,
          bypassWanted: 1,
          crossingsWanted: [1],
          leasable: true,
          repository: 'a',
          ready: 1,
        },
      ],
    },
  ],
  [HubQuestion, { repository: 'a', digest: text, start: 0, end: 9, checksLeaves: true }],
  [HubLeavesQuestion, { repository: 'a', digest: text, from: 0 }],
  [HubRefusal, { code: 'away', message: text, retryAfterS: 1, holder: 'a' }],
] as const;

/** Fuzzers of what peers and the fleet API send. */
export const WIRE_FUZZERS: Fuzzer[] = [
  {
    name: 'frames',
    corpus: [
      Buffer.concat([
        Buffer.of(0),
        ...[0, 1, 127, 128, 900].map((n) => encodeFrame(Buffer.alloc(n))),
      ]),
      Buffer.concat([Buffer.of(77), encodeFrame(Buffer.alloc(FRAME_MAX))]),
    ],
    refusals: SWARM,
    run: readFrames,
  },
  {
    name: 'bitmap',
    corpus: [Buffer.concat([Buffer.of(13), Buffer.of(0xff, 0x1f)]), Buffer.of(0)],
    refusals: SWARM,
    run: (input) => {
      const bitmap = ChunkBitmap.fromBytes(input.subarray(1), input[0] ?? 0);
      same(bitmap.toBytes(), input.subarray(1), 'a bitmap');
      if ([...bitmap.present()].length !== bitmap.count) throw new Error('wrong count');
    },
  },
  message('request', REQUESTS.map(encodeRequest), decodeRequest, encodeRequest),
  message(
    'response',
    RESPONSES.map(encodeResponse),
    (bytes) => decodeResponse(bytes, 4 * MIB),
    encodeResponse,
  ),
  message(
    'availability on a lane',
    [encodeLaneHave({ size, bitmap: some }), encodeLaneHave({ size: 0, bitmap: EMPTY })],
    (bytes) => decodeLaneHave(Buffer.from(bytes)),
    encodeLaneHave,
  ),
  message(
    'hello',
    [encodeHello({ membership: Buffer.of(1), versionMin: 1, versionMax: 2, build: 'b' })],
    decodeHello,
    encodeHello,
  ),
  {
    name: 'fleet api bodies',
    corpus: BODIES.map(([, value], i) =>
      Buffer.concat([Buffer.of(i), Buffer.from(JSON.stringify(value))]),
    ),
    refusals: ['HubApiError'],
    run: (input) => {
      const [schema] = BODIES[(input[0] ?? 0) % BODIES.length] ?? BODIES[0];
      parseBody(schema, input.subarray(1));
    },
  },
];
