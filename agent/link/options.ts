import { Type, type Static } from 'typebox';
import { ByteSize } from '../../proto/ops/config.ts';

const LINK_MIN = 1_000_000;
const PEERS_UP_DEFAULT = 0.8;
const PREFETCH_DEFAULT = 0.5;

function part(what: string, standard: number): Type.TNumber {
  return Type.Number({
    description:
      `part of the link that ${what} may take; ` +
      'of a link that is not given, more while nobody else needs it; 1: not bounded unless it is',
    default: standard,
    minimum: 0.01,
    maximum: 1,
  });
}

/** Section `bandwidth`. */
export const BandwidthOptions = Type.Object(
  {
    link: Type.Optional(
      ByteSize({
        description:
          'bytes per second of the link of this node, each way; ' +
          'if left out, what the network card of the default route says',
        minimum: LINK_MIN,
      }),
    ),
    peersUp: part('chunks sent to other agents', PEERS_UP_DEFAULT),
    peersDown: part('chunks received from other agents', 1),
    source: part('bytes received from the hub or an upstream', 1),
    prefetch: part('chunks that are fetched after all readers have left', PREFETCH_DEFAULT),
  },
  { description: 'how much of the link of this node the exchange takes', default: {} },
);
export type BandwidthConfig = Static<typeof BandwidthOptions>;
