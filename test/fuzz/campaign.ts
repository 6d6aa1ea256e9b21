import { messageOf } from '../../proto/std/errors.ts';
import { mutate, seededRandom } from './mutate.ts';

/** One decoder under attack. */
export type Fuzzer = {
  name: string;
  /** Valid inputs to start from. */
  corpus: readonly Buffer[];
  /** Feeds an input to the decoder; also checks what must hold when it is accepted. */
  run: (input: Buffer) => void;
  /** Names of the errors with which the decoder may refuse, or their codes. */
  refusals: readonly string[];
};

/** An input that made a decoder do something other than accept or refuse. */
export type Finding = { fuzzer: string; round: number; input: Buffer; problem: string };

export type Tally = { fuzzer: string; rounds: number; accepted: number; refused: number };

function isRefusal(err: unknown, refusals: readonly string[]): boolean {
  if (!(err instanceof Error)) return false;
  const code = 'code' in err && typeof err.code === 'string' ? err.code : '';
  return refusals.includes(err.name) || refusals.includes(code);
}

/** A stable number for a text, so that each fuzzer has inputs of its own. */
function hashOf(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/**
 * Feeds one fuzzer its corpus, which must be accepted, and `rounds` inputs near it. The same seed
 * gives the same inputs. Stops at the first finding.
 */
export function runFuzzer(
  fuzzer: Fuzzer,
  options: { seed: number; rounds: number },
): { tally: Tally; finding: Finding | undefined } {
  const random = seededRandom(options.seed ^ hashOf(fuzzer.name));
  const tally = { fuzzer: fuzzer.name, rounds: 0, accepted: 0, refused: 0 };
  for (const [i, input] of fuzzer.corpus.entries()) {
    try {
      fuzzer.run(Buffer.from(input));
    } catch (err) {
      const problem = `a valid input was refused: ${messageOf(err)}`;
      return { tally, finding: { fuzzer: fuzzer.name, round: -1 - i, input, problem } };
    }
  }
  for (let round = 0; round < options.rounds; round++) {
    const input = mutate(fuzzer.corpus, random);
    tally.rounds++;
    try {
      fuzzer.run(Buffer.from(input));
      tally.accepted++;
    } catch (err) {
      tally.refused++;
      if (isRefusal(err, fuzzer.refusals)) continue;
      const name = err instanceof Error ? err.name : typeof err;
      const problem = `${name}: ${messageOf(err)}`;
      return { tally, finding: { fuzzer: fuzzer.name, round, input, problem } };
    }
  }
  return { tally, finding: undefined };
}
