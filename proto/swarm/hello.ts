import { create, toBinary } from '@bufbuild/protobuf';
import { MEMBERSHIP_MAX_BYTES } from '../trust/membership.ts';
import {
  BUILD_MAX_CHARS,
  HELLO_MAX_BYTES,
  SWARM_VERSION_MAX,
  SWARM_VERSION_MIN,
} from './constants.ts';
import { badMessage, decodeWire, inRange } from './decode.ts';
import { HelloSchema } from './messages_pb.ts';

/** First message of both sides. The membership in it is not verified yet. */
export type SwarmHello = {
  membership: Buffer;
  versionMin: number;
  versionMax: number;
  build: string;
};

/** Payload of the hello frame. */
export function encodeHello(hello: SwarmHello): Uint8Array {
  return toBinary(HelloSchema, create(HelloSchema, hello));
}

/** Reads a hello. Throws SwarmError BAD_MESSAGE. */
export function decodeHello(bytes: Uint8Array): SwarmHello {
  inRange(bytes.length, 1, HELLO_MAX_BYTES, 'hello length');
  const { membership, versionMin, versionMax, build } = decodeWire(HelloSchema, bytes);
  inRange(membership.length, 1, MEMBERSHIP_MAX_BYTES, 'membership length');
  inRange(build.length, 0, BUILD_MAX_CHARS, 'build length');
  if (versionMin > versionMax) throw badMessage('version range');
  return { membership: Buffer.from(membership), versionMin, versionMax, build };
}

/** The newest version both sides speak; undefined when there is none. */
export function commonVersion(
  hello: Pick<SwarmHello, 'versionMin' | 'versionMax'>,
): number | undefined {
  const version = Math.min(hello.versionMax, SWARM_VERSION_MAX);
  return version >= Math.max(hello.versionMin, SWARM_VERSION_MIN) ? version : undefined;
}
