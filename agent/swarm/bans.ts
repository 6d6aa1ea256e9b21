import type { BanReason } from '../fetch/ports.ts';
import { BANS_MAX, BAN_BASE_MS, BAN_MAX_MS, BAN_MEMORY_MS } from './constants.ts';

type Offender = { offences: number; lastMs: number; untilMs: number; reason: BanReason };

/** Which peers are banned and until when. Every further offence doubles the time. */
export class BanBook {
  readonly #offenders = new Map<string, Offender>();
  readonly #steadyNow: () => number;

  /** `steadyNow`: milliseconds that no change of the clock moves. */
  constructor(options: { steadyNow?: () => number } = {}) {
    this.#steadyNow = options.steadyNow ?? (() => performance.now());
  }

  /** Records an offence. Returns the length of the ban in ms. */
  ban(peerId: string, reason: BanReason): number {
    const nowMs = this.#steadyNow();
    const before = this.#offenders.get(peerId);
    const remembered = before !== undefined && nowMs - before.lastMs < BAN_MEMORY_MS;
    // An offence reported while the ban runs is mostly the tail of the same one.
    const running = before !== undefined && before.untilMs > nowMs;
    const offences = running ? before.offences : (remembered ? before.offences : 0) + 1;
    const durationMs = Math.min(BAN_BASE_MS * 2 ** (offences - 1), BAN_MAX_MS);
    this.#offenders.delete(peerId);
    this.#offenders.set(peerId, { offences, lastMs: nowMs, untilMs: nowMs + durationMs, reason });
    if (this.#offenders.size > BANS_MAX) {
      const [oldest] = this.#offenders.keys();
      if (oldest !== undefined) this.#offenders.delete(oldest);
    }
    return durationMs;
  }

  isBanned(peerId: string): boolean {
    const offender = this.#offenders.get(peerId);
    return offender !== undefined && offender.untilMs > this.#steadyNow();
  }
}
