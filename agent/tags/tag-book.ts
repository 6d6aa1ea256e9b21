import type { Digest } from '../../proto/oci/digest.ts';
import {
  verifyTagStatement,
  type TagName,
  type TagStatement,
} from '../../proto/trust/tag-statement.ts';
import type { TrustStore } from '../../proto/trust/trust-store.ts';
import { TAGS_MAX } from './constants.ts';

/** A statement that verified, as the hub signed it. */
export type HeldTag = { readonly bytes: Buffer; readonly statement: TagStatement };

/** `disproved`: the hub itself has said otherwise since. */
type Entry = HeldTag & { disproved: boolean };

/**
 * The newest tag statement of each name, whoever brought it: bounded, and an older one never takes
 * the place of a newer one.
 */
export class TagBook {
  readonly #max: number;
  readonly #now: () => number;
  readonly #modules: {
    trust: Pick<TrustStore, 'verifyKey'>;
    fleetId: () => string;
    onChange?: () => void;
  };
  /** The one heard of last is at the end. */
  readonly #entries = new Map<string, Entry>();

  constructor(
    options: { max?: number; now?: () => number },
    modules: {
      trust: Pick<TrustStore, 'verifyKey'>;
      fleetId: () => string;
      /** Told when what is kept for the next run has changed. */
      onChange?: () => void;
    },
  ) {
    this.#max = options.max ?? TAGS_MAX;
    this.#now = options.now ?? Date.now;
    this.#modules = modules;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Verifies a statement, and keeps it if it is the newest of its name. Throws TrustError. */
  take(bytes: Uint8Array): { statement: TagStatement; isNews: boolean } {
    const statement = this.#verify(bytes);
    const key = keyOf(statement);
    const entry = this.#entries.get(key);
    if (entry !== undefined && !isNewer(statement, entry.statement) && this.#isBelieved(entry)) {
      return { statement, isNews: false };
    }
    this.#put(key, { bytes: Buffer.from(bytes), statement, disproved: false });
    this.#modules.onChange?.();
    return { statement, isNews: true };
  }

  /**
   * The newest statement of a name. Its keys are looked at anew, and none is given that the hub has
   * contradicted since.
   */
  get(name: TagName): HeldTag | undefined {
    const entry = this.#entries.get(keyOf(name));
    if (entry === undefined || entry.disproved || !this.#isBelieved(entry)) return undefined;
    return entry;
  }

  /** The hub has just said what the name means; undefined: nothing. */
  heard(name: TagName, digest: Digest | undefined): void {
    const key = keyOf(name);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    const disproved = entry.statement.digest !== digest;
    if (disproved !== entry.disproved) this.#modules.onChange?.();
    entry.disproved = disproved;
    this.#put(key, entry);
  }

  /** What is worth keeping for the next run, the one heard of last at the end. */
  statements(): Buffer[] {
    return [...this.#entries.values()].flatMap((entry) => (entry.disproved ? [] : [entry.bytes]));
  }

  #put(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined && this.#entries.size > this.#max) this.#entries.delete(oldest);
  }

  #verify(bytes: Uint8Array): TagStatement {
    const { trust, fleetId } = this.#modules;
    return verifyTagStatement(bytes, trust, { nowMs: this.#now(), fleetId: fleetId() });
  }

  /** Not any more when its key was revoked, or our clock set back behind it. */
  #isBelieved(entry: Entry): boolean {
    try {
      this.#verify(entry.bytes);
      return true;
    } catch {
      return false;
    }
  }
}

/** With the digest to decide between two of one moment, so that their order never matters. */
function isNewer(a: TagStatement, b: TagStatement): boolean {
  return a.timeMs === b.timeMs ? a.digest > b.digest : a.timeMs > b.timeMs;
}

/** A line feed in an asked name matches nothing: repository and tag of a verified one have none. */
export function keyOf({ namespace, repository, tag }: TagName): string {
  return `${namespace}\n${repository}\n${tag}`;
}
