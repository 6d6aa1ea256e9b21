import type { Digest } from '../../../proto/oci/digest.ts';

/** An object of the bucket that no blob owns: being made, or left over. */
export type LooseObject = {
  key: string;
  /** The blob in the making that it belongs to; empty for none. */
  pending: string;
};

/**
 * Which object holds the bytes of which blob. An object is noted here before it is made, so that
 * none is ever lost: it is either a blob's or loose. Times are Unix time in ms.
 */
export interface ObjectIndex {
  find(digest: Digest): Promise<{ key: string; size: number } | undefined>;
  /** Notes a loose object, or that it is still in use. */
  note(object: LooseObject, nowMs: number): Promise<void>;
  /** Notes that loose objects are still in use; false when one of them is not loose. */
  touch(keys: readonly string[], nowMs: number): Promise<boolean>;
  /**
   * Gives a loose object to the blob: the commit. A blob that has one keeps it, unless that one is
   * `lost`. Returns the object that the blob has now; the others stay or become loose.
   */
  commit(
    blob: { digest: Digest; key: string; size: number; lost?: string },
    nowMs: number,
  ): Promise<{ key: string; size: number }>;
  /**
   * The blob is gone and its object loose; false when there was none, or none of that key where
   * one is given.
   */
  remove(blob: { digest: Digest; key?: string | undefined }, nowMs: number): Promise<boolean>;
  /** Loose objects not noted since `beforeMs`, in the order of their keys. */
  loose(page: { beforeMs: number; after: string; max: number }): Promise<LooseObject[]>;
  /** Objects that are gone from the bucket. */
  forget(keys: readonly string[]): Promise<void>;
}

/** Whose objects of the bucket are, for who goes through the bucket. */
export interface ObjectDirectory {
  /** Blobs that objects of these keys are the bytes of. */
  owners(keys: readonly string[]): Promise<ReadonlyMap<string, Digest>>;
  /** Which of these keys are loose, and the blob in the making each belongs to. */
  looseOf(keys: readonly string[]): Promise<ReadonlyMap<string, string>>;
}
