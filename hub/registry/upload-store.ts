import type { PendingState } from '../blobs/port.ts';

/** Whose an upload is. Nobody else learns that it exists. */
export type UploadTarget = { id: string; repository: string; subject: string };

/** An upload as the last answered request left it. */
export type UploadRecord = UploadTarget & { state: PendingState; size: number };

/**
 * The right of one request to write to an upload. `epoch` counts the requests that had it: equal
 * to the last one plus 1, nobody else wrote in between.
 */
export type UploadHold = { id: string; epoch: number };

/** Finished leaves of the chunk tree, from leaf `first` on, 32 bytes each. */
export type SavedLeaves = { first: number; hashes: Uint8Array };

/** Times are Unix time in ms, by the clock of the hub that asks. */
export interface UploadStore {
  create(record: UploadRecord, times: { nowMs: number; expiresAtMs: number }): Promise<void>;
  find(target: UploadTarget): Promise<UploadRecord | undefined>;
  /** Keeps other requests off the upload, also those of other hubs, until `untilMs` at most. */
  hold(
    target: UploadTarget,
    by: { holder: string; nowMs: number; untilMs: number },
  ): Promise<(UploadRecord & { epoch: number }) | 'unknown' | 'held'>;
  /** Holds longer; false when it took too long and another request has it now. */
  extend(hold: UploadHold, untilMs: number): Promise<boolean>;
  /** Saves what was appended and lets other requests in; false as for `extend`. */
  save(
    hold: UploadHold,
    progress: {
      state: PendingState;
      size: number;
      leaves?: SavedLeaves;
      nowMs: number;
      expiresAtMs: number;
      /** Goes on to keep other requests off until then. */
      heldUntilMs?: number;
    },
  ): Promise<boolean>;
  /** Lets other requests in; the upload is where it was. */
  letGo(hold: UploadHold): Promise<void>;
  remove(hold: UploadHold): Promise<void>;
  /** All leaves that were saved, in order, packed. */
  leaves(id: string): Promise<Buffer>;
  /** Removes and returns uploads that expired and that nobody holds, `max` at most. */
  takeExpired(nowMs: number, max: number): Promise<UploadRecord[]>;
  /**
   * Removes and returns uploads of the subject, or of anybody, that had no request since `beforeMs`
   * and that nobody holds, those of `busy` left out: the longest unused first, `max` at most.
   */
  takeIdle(wish: {
    subject: string | undefined;
    busy: readonly string[];
    nowMs: number;
    beforeMs: number;
    max: number;
  }): Promise<UploadRecord[]>;
  /** Which of these uploads there are. */
  known(ids: readonly string[]): Promise<ReadonlySet<string>>;
  /** How many there are of each subject that has any. */
  counts(): Promise<ReadonlyMap<string, number>>;
  /** Lets go of all that this holder holds: it has started anew. */
  letGoOf(holder: string): Promise<void>;
}
