import { randomUUID } from 'node:crypto';
import type { Digest } from '../../proto/oci/digest.ts';
import type { BlobReader, OpenBlob } from '../blobs/port.ts';
import type { HoldStore } from '../gc/store.ts';
import { HOLD_MS } from './constants.ts';
import { BackupError } from './errors.ts';
import { encodeRows } from './rows.ts';
import type { CatalogSnapshot } from './store.ts';

export type BackupModules = {
  catalog: { snapshot(): Promise<CatalogSnapshot> };
  blobs: BlobReader;
  /** False: the blobs of the catalog are in the folder of another hub. */
  hasBlobs: boolean;
  hold: Pick<HoldStore, 'hold' | 'keepHold' | 'endHold'>;
  fleet: { readonly fleetId: string; readonly rootFingerprint: string };
  build: string;
  now?: () => number;
};

export type Hold = { id: string; untilMs: number };

/** What a running hub gives to whoever makes a backup of it. */
export class BackupService {
  readonly #modules: BackupModules;
  readonly #now: () => number;

  constructor(modules: BackupModules) {
    this.#modules = modules;
    this.#now = modules.now ?? Date.now;
  }

  /** Begins a backup: from now on no hub removes the bytes of a blob that it may want. */
  async begin(): Promise<Hold> {
    const nowMs = this.#now();
    const hold = { id: randomUUID(), untilMs: nowMs + HOLD_MS };
    await this.#modules.hold.hold(hold.id, { untilMs: hold.untilMs, nowMs });
    return hold;
  }

  /** The backup goes on; undefined when blobs may have been removed since it began. */
  async renew(id: string): Promise<Hold | undefined> {
    const nowMs = this.#now();
    const hold = { id, untilMs: nowMs + HOLD_MS };
    const { untilMs } = hold;
    return (await this.#modules.hold.keepHold(id, { untilMs, nowMs })) ? hold : undefined;
  }

  end(id: string): Promise<void> {
    return this.#modules.hold.endHold(id);
  }

  /**
   * Lines of the catalog as it is now. To be read or returned: it has a transaction open.
   * @throws CatalogError
   */
  async rows(): Promise<AsyncGenerator<string>> {
    const { catalog, fleet, build } = this.#modules;
    const time = new Date(this.#now()).toISOString();
    const snapshot = await catalog.snapshot();
    const { schema } = snapshot;
    const { fleetId, rootFingerprint } = fleet;
    return linesOf(snapshot, { schema, fleetId, rootFingerprint, build, time });
  }

  /**
   * A blob, whoever has it; undefined for one that is not there.
   * @throws BackupError BLOBS_ELSEWHERE; BlobStoreError
   */
  async blob(digest: Digest): Promise<OpenBlob | undefined> {
    const { blobs, hasBlobs } = this.#modules;
    const blob = await blobs.open(digest);
    if (blob !== undefined || hasBlobs) return blob;
    throw new BackupError(BLOBS_ELSEWHERE, { code: 'BLOBS_ELSEWHERE' });
  }
}

const BLOBS_ELSEWHERE =
  'the blobs of this catalog are in the data folder of another hub, which this one cannot read: ' +
  'make the backup there, or here one with --catalog-only; if that folder is gone for good, stop ' +
  'the hub and run flotilla hub check --repair --adopt';

async function* linesOf(
  snapshot: CatalogSnapshot,
  head: Parameters<typeof encodeRows>[0],
): AsyncGenerator<string> {
  await using open = snapshot;
  yield* encodeRows(head, open.pages());
}
