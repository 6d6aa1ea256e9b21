import type { BackupClient } from './client.ts';
import { HOLD_MS, HOLD_RENEW_MS } from './constants.ts';
import { BackupError } from './errors.ts';

/** Tells the hub again and again that the backup goes on, until disposed. */
export class Held implements AsyncDisposable {
  readonly #id: string;
  readonly #client: Pick<BackupClient, 'renew' | 'end'>;
  readonly #lost = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #heardMs = performance.now();

  constructor(id: string, client: Pick<BackupClient, 'renew' | 'end'>) {
    this.#id = id;
    this.#client = client;
    this.#timer = setInterval(() => void this.#renew(), HOLD_RENEW_MS);
  }

  /** Aborts when bytes of blobs may have been removed. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    // It ends by itself.
    await this.#client.end(this.#id).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    try {
      if (await this.#client.renew(this.#id)) this.#heardMs = performance.now();
      else this.#heardMs = Number.NEGATIVE_INFINITY;
    } catch {
      // It may answer the next time.
    }
    if (performance.now() - this.#heardMs < HOLD_MS) return;
    this.#lost.abort(
      new BackupError(
        'the hub was not reached for long and may have removed blobs; make the backup again, ' +
          'what is there is used',
        { code: 'BACKUP_INTERRUPTED' },
      ),
    );
  }
}
