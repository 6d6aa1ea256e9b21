import { BODY_TIMEOUT_MS, TRANSFER_RATE_MIN, WRITE_STALL_TIMEOUT_MS } from './constants.ts';

/** Time for a peer to take so many bytes that were written at once. */
export function writePatienceMs(bytes: number, stallMs: number = WRITE_STALL_TIMEOUT_MS): number {
  return stallMs + slowestMs(bytes);
}

/** Time for so many bytes of a body to come. */
export function bodyPatienceMs(bytes: number): number {
  return BODY_TIMEOUT_MS + slowestMs(bytes);
}

function slowestMs(bytes: number): number {
  return (bytes / TRANSFER_RATE_MIN) * 1_000;
}
