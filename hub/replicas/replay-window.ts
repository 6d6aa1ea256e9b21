import type { ReplicaCall } from '../../proto/trust/replica-call.ts';
import { REPLAY_WINDOW_CALLS } from './constants.ts';

type Window = { joined: number; top: number; bits: Uint32Array };

const WORD_BITS = 32;

/**
 * Tells calls that came before. They may overtake each other by REPLAY_WINDOW_CALLS; one that is
 * later than that is refused, as if it had come.
 */
export class ReplayWindow {
  /** By sender; what one of them is remembered for does not grow. */
  readonly #windows = new Map<string, Window>();

  /** Takes a call of a known sender; false when it came before, or is too late to tell. */
  take({ from, sequence }: Pick<ReplicaCall, 'from' | 'sequence'>): boolean {
    let window = this.#windows.get(from.id);
    if (window !== undefined && from.joined < window.joined) return false;
    if (window === undefined || from.joined > window.joined) {
      const bits = new Uint32Array(REPLAY_WINDOW_CALLS / WORD_BITS);
      window = { joined: from.joined, top: 0, bits };
      this.#windows.set(from.id, window);
    }
    if (sequence <= window.top - REPLAY_WINDOW_CALLS) return false;
    const from1 = Math.max(window.top + 1, sequence - REPLAY_WINDOW_CALLS + 1);
    for (let at = from1; at <= sequence; at += 1) mark(window.bits, at, false);
    window.top = Math.max(window.top, sequence);
    return mark(window.bits, sequence, true);
  }

  /** Forgets all other senders. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#windows.keys()) if (!ids.has(id)) this.#windows.delete(id);
  }
}

/** Sets one bit; whether it was different before. */
function mark(bits: Uint32Array, sequence: number, to: boolean): boolean {
  const at = sequence % REPLAY_WINDOW_CALLS;
  const word = Math.floor(at / WORD_BITS);
  const bit = (1 << (at % WORD_BITS)) >>> 0;
  const before = bits[word] ?? 0;
  bits[word] = to ? before | bit : before & ~bit;
  return ((before & bit) !== 0) !== to;
}
