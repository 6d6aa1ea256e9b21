import { Type } from 'typebox';
import type { Static } from 'typebox';

/** Who tries it, and what. */
const Attack = Type.Union([
  /** Not enrolled: tries every protocol, asks for everything, shows a certificate of its own. */
  Type.Literal('stranger'),
  /** Enrolled: asks without a grant, with wrong ones, and at last with the right one. */
  Type.Literal('no-grant'),
  /** Enrolled: begins frames of 4 GiB, of the muxer and of the exchange, and sends on and on. */
  Type.Literal('frame-of-4-gib'),
  /** Enrolled, with a right grant: asks for the chunk with the index -1. */
  Type.Literal('index-minus-one'),
  /** Enrolled: opens 10,000 streams. */
  Type.Literal('streams'),
  /** May push: sends the hub manifests of 5 MiB, many at once. */
  Type.Literal('manifests-of-5-mib'),
]);

const Content = Type.Object({ repository: Type.String(), manifest: Type.String() });

/** What one outsider is started with, as JSON. */
export const OutsiderTask = Type.Object({
  attack: Attack,
  /** Where the attacked agent listens, and who it is. */
  victim: Type.Object({ address: Type.String(), port: Type.Number(), peerId: Type.String() }),
  /** An image the victim holds, and a layer of it. */
  image: Content,
  layer: Type.String(),
  /** Another image. */
  other: Content,
  /** How it enrols, when it does. */
  hubUrl: Type.String(),
  joinToken: Type.String(),
  address: Type.String(),
  /** How it pushes, when it does. */
  authorization: Type.String(),
  /** Where it keeps its identity. */
  folder: Type.String(),
});
export type OutsiderTask = Static<typeof OutsiderTask>;

/** One thing that was tried, how it was answered, and how many bytes of content came with that. */
const Answer = Type.Object({ asked: Type.String(), status: Type.String(), bytes: Type.Number() });
export type Answer = Static<typeof Answer>;

/** What the outsider has seen, as JSON. */
export const OutsiderReport = Type.Object({
  answers: Type.Array(Answer),
  /** Streams that were open at the end. */
  streams: Type.Number(),
});
export type OutsiderReport = Static<typeof OutsiderReport>;
