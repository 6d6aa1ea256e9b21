import type { Digest } from '../../proto/oci/digest.ts';
import type { UploadHold, UploadStore } from '../registry/upload-store.ts';
import type { IngestBytes } from './ingest-bytes.ts';
import { INGEST_HOLD_MS, INGEST_HOLD_RENEW_MS, PARKED_MAX_AGE_MS } from './pull-constants.ts';
import type { UpstreamStore } from './store.ts';

/** No account or robot is called so: nobody goes on with these but hubs. */
const SUBJECT = 'upstream';

export type ParkingModules = {
  store: Pick<UpstreamStore, 'parked' | 'park'>;
  uploads: Pick<UploadStore, 'create' | 'hold' | 'extend' | 'save' | 'letGo' | 'remove' | 'leaves'>;
};

type Options = {
  /** This hub among those that share the catalog. */
  holder: string;
  /** ms since 1970. */
  now: () => number;
};

/** What of a blob to fetch was parked before. */
export type Claim =
  | { kind: 'nothing' }
  /** Another hub goes on with it. */
  | { kind: 'held'; holder: string }
  | { kind: 'parked'; state: string; saved: Buffer };

/**
 * What is parked of one blob, held by this hub while it goes on with it. Nothing is written before
 * there is enough to be worth it.
 */
export class IngestParking {
  readonly #target: { scope: string; repository: string; digest: Digest };
  readonly #options: Options;
  readonly #modules: ParkingModules;
  #hold: UploadHold | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOff = false;

  constructor(
    target: { scope: string; repository: string; digest: Digest },
    options: Options,
    modules: ParkingModules,
  ) {
    this.#target = target;
    this.#options = options;
    this.#modules = modules;
  }

  /** Id of the upload that is to end with the blob. */
  get id(): string | undefined {
    return this.#hold?.id;
  }

  async claim(): Promise<Claim> {
    const { store, uploads } = this.#modules;
    const { scope, digest } = this.#target;
    const row = await store.parked(scope, digest);
    if (row === undefined) return { kind: 'nothing' };
    const target = { id: row.session, repository: row.repository, subject: row.subject };
    const found = await uploads.hold(target, this.#by());
    if (found === 'unknown') return { kind: 'nothing' };
    if (found === 'held') return { kind: 'held', holder: row.holder };
    this.#hold = { id: row.session, epoch: found.epoch };
    return { kind: 'parked', state: found.state, saved: await uploads.leaves(row.session) };
  }

  /** Calls back once when another hub has it now. */
  keep(onLost: () => void): void {
    let untilMs = this.#options.now() + INGEST_HOLD_MS;
    const renew = async (): Promise<void> => {
      const hold = this.#hold;
      if (hold === undefined) return;
      const wishMs = this.#options.now() + INGEST_HOLD_MS;
      const held = await this.#modules.uploads.extend(hold, wishMs).catch(() => undefined);
      if (held === true) untilMs = wishMs;
      else if (held === false || untilMs < this.#options.now()) onLost();
    };
    this.#timer = setInterval(() => void renew(), INGEST_HOLD_RENEW_MS);
    this.#timer.unref();
  }

  /** Notes where another hub goes on; false when another one has it now. */
  async park(bytes: IngestBytes): Promise<boolean> {
    if (this.#isOff) return true;
    const parked = await bytes.park();
    if (this.#hold === undefined && !(await this.#begin(bytes.id, parked))) return true;
    const hold = this.#hold;
    if (hold === undefined) return true;
    const times = { ...this.#times(), heldUntilMs: this.#by().untilMs };
    return this.#modules.uploads.save(hold, { ...parked, ...times });
  }

  /** There is nothing to go on with. */
  async drop(): Promise<void> {
    this.#end();
    if (this.#hold !== undefined) await this.#modules.uploads.remove(this.#hold);
    this.#hold = undefined;
  }

  /** Another hub, or this one later, may go on at once. */
  async letGo(): Promise<void> {
    this.#end();
    if (this.#hold !== undefined) await this.#modules.uploads.letGo(this.#hold);
  }

  /** Its upload ended with the blob. */
  done(): void {
    this.#end();
    this.#hold = undefined;
  }

  async #begin(id: string, parked: { state: string; size: number }): Promise<boolean> {
    const { store, uploads } = this.#modules;
    const { scope, digest, repository } = this.#target;
    const target = { id, repository, subject: SUBJECT };
    await uploads.create({ ...target, state: parked.state, size: parked.size }, this.#times());
    const found = await uploads.hold(target, this.#by());
    if (typeof found === 'string') return false;
    const hold = { id, epoch: found.epoch };
    if (await store.park(scope, digest, id)) {
      this.#hold = hold;
      return true;
    }
    // Another hub fetches it too, for a while; one of them is enough to go on from.
    this.#isOff = true;
    await uploads.remove(hold);
    return false;
  }

  #end(): void {
    clearInterval(this.#timer);
  }

  #by(): { holder: string; nowMs: number; untilMs: number } {
    const nowMs = this.#options.now();
    return { holder: this.#options.holder, nowMs, untilMs: nowMs + INGEST_HOLD_MS };
  }

  #times(): { nowMs: number; expiresAtMs: number } {
    const nowMs = this.#options.now();
    return { nowMs, expiresAtMs: nowMs + PARKED_MAX_AGE_MS };
  }
}
