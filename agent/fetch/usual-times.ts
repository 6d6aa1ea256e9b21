import { FAR_USUAL_START_MS, STALL_FACTOR, STALL_MAX_MS, STALL_MIN_MS } from './constants.ts';

const SMOOTHING = 0.2;

/**
 * How long requests usually take. Those to other zones count by themselves: what is normal over a
 * slow line would be overdue within a zone.
 */
export class UsualTimes {
  #usualMs = STALL_MIN_MS / STALL_FACTOR;
  #farMs = FAR_USUAL_START_MS;
  #learntMs = Number.NEGATIVE_INFINITY;

  /** Over all requests. */
  get usualMs(): number {
    return this.#usualMs;
  }

  /** A request made now is overdue after this. */
  stallMs(isFar: boolean): number {
    const usualMs = isFar ? this.#farMs : this.#usualMs;
    return Math.min(STALL_MAX_MS, Math.max(STALL_MIN_MS, usualMs * STALL_FACTOR));
  }

  landed(isFar: boolean, tookMs: number): void {
    this.#usualMs += (tookMs - this.#usualMs) * SMOOTHING;
    if (isFar) this.#farMs += (tookMs - this.#farMs) * SMOOTHING;
  }

  /**
   * Some request to another zone is overdue: perhaps the line has become slow, and if each request
   * was broken off in the middle none would ever come. Counts once at a time.
   */
  farOverdue(ageMs: number, nowMs: number): void {
    if (nowMs === this.#learntMs) return;
    this.#learntMs = nowMs;
    this.#farMs += (ageMs - this.#farMs) * SMOOTHING;
  }
}
