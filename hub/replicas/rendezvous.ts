import { createHash } from 'node:crypto';
import { digestHex, type Digest } from '../../proto/oci/digest.ts';

/** Two words of 32 bits. */
type Words = readonly [number, number];

const WORD_HEX = 8;

/** Where a replica stands in the choice of owners; depends on nothing but its name. */
export type Standing = { readonly id: string; readonly seed: Words };

/** `id` in a form that makes choices quick. */
export function standingOf(id: string): Standing {
  const hash = createHash('sha256').update(`flotilla replica ${id}`).digest();
  return { id, seed: [hash.readUInt32BE(0), hash.readUInt32BE(4)] };
}

/** Every bit of the word counts for every bit of the result (the finalizer of MurmurHash3). */
function mixed(word: number): number {
  let mixing = word ^ (word >>> 16);
  mixing = Math.imul(mixing, 0x85ebca6b);
  mixing ^= mixing >>> 13;
  mixing = Math.imul(mixing, 0xc2b2ae35);
  return (mixing ^ (mixing >>> 16)) >>> 0;
}

function scoreOf([first, second]: Words, [high, low]: Words): Words {
  const upper = mixed(mixed(first ^ high) ^ second);
  return [upper, mixed(mixed(second ^ low) ^ upper)];
}

function isMore([high, low]: Words, [otherHigh, otherLow]: Words): boolean {
  return high === otherHigh ? low > otherLow : high > otherHigh;
}

/**
 * The replica with the highest score for a digest (rendezvous hashing): all who know the same
 * replicas choose the same one, each has about as many digests as the others, and who comes or
 * goes moves no digest but its own. undefined without replicas.
 */
export function ownerAmong<S extends Standing>(
  replicas: readonly S[],
  digest: Digest,
): S | undefined {
  const hex = digestHex(digest);
  const words: Words = [
    Number.parseInt(hex.slice(0, WORD_HEX), 16),
    Number.parseInt(hex.slice(WORD_HEX, 2 * WORD_HEX), 16),
  ];
  let best: S | undefined;
  let bestScore: Words = [0, 0];
  for (const replica of replicas) {
    const score = scoreOf(replica.seed, words);
    const isTie = best !== undefined && score[0] === bestScore[0] && score[1] === bestScore[1];
    if (best === undefined || isMore(score, bestScore) || (isTie && replica.id > best.id)) {
      best = replica;
      bestScore = score;
    }
  }
  return best;
}
