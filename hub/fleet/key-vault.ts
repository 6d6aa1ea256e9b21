import { KeyRing } from '../../proto/trust/key-ring.ts';
import { RING_ATTEMPTS_MAX } from './constants.ts';
import { KeysError } from './errors.ts';
import { seal, unseal, type SealingKey } from './sealing.ts';
import type { FleetStore, SealedRing } from './store.ts';

type VaultOptions = {
  fleetId: string;
  key: SealingKey;
  /** The key before that, which the ring may still be encrypted under. */
  previous: SealingKey | undefined;
};

/** The ring in the catalog, encrypted under a key that is not there; hubs that have it share it. */
export class KeyVault {
  readonly #options: VaultOptions;
  readonly #store: Pick<FleetStore, 'sealedRing' | 'replaceRing'>;

  constructor(
    options: VaultOptions,
    modules: { store: Pick<FleetStore, 'sealedRing' | 'replaceRing'> },
  ) {
    this.#options = options;
    this.#store = modules.store;
  }

  /** Whether there is a ring. */
  async isEmpty(): Promise<boolean> {
    return (await this.#store.sealedRing()) === undefined;
  }

  /**
   * The ring, encrypted under the present key from now on, with all keys that this version wants.
   * The first one is `first`; of hubs that begin at once all get the same.
   * @throws KeysError WRONG_KEY, RING_DAMAGED, KEYS_BUSY; TrustError MALFORMED; errors of the store
   */
  async open(first: () => KeyRing, nowMs: number): Promise<KeyRing> {
    return this.#attempt(async () => {
      const row = await this.#store.sealedRing();
      const ring = row === undefined ? first() : this.#unseal(row);
      const changed = ring.complete(nowMs);
      const moved = row?.sealedWith !== this.#options.key.id;
      return changed || moved ? this.#replace(ring, row) : ring;
    });
  }

  /** The ring when it has changed since; undefined otherwise. Throws as `open`. */
  async newer(serial: number): Promise<KeyRing | undefined> {
    const row = await this.#store.sealedRing(serial);
    return row && this.#unseal(row);
  }

  /** Changes the ring that is there now, or `own` should that be later. Throws as `open`. */
  async change(work: (ring: KeyRing) => void, own: KeyRing): Promise<KeyRing> {
    return this.#attempt(async () => {
      const row = await this.#store.sealedRing();
      const isLater = row !== undefined && row.serial >= own.serial;
      const ring = isLater ? this.#unseal(row) : KeyRing.fromPem(own.toPem());
      work(ring);
      return this.#replace(ring, row);
    });
  }

  /** undefined: another hub was there first. */
  async #replace(ring: KeyRing, before: SealedRing | undefined): Promise<KeyRing | undefined> {
    const { fleetId, key } = this.#options;
    const { serial } = ring;
    const sealed = seal(ring.toPem(), key, { fleetId, serial });
    const next = { serial, sealedWith: key.id, sealed };
    return (await this.#store.replaceRing(next, before)) ? ring : undefined;
  }

  #unseal({ serial, sealedWith, sealed }: SealedRing): KeyRing {
    const { fleetId, key, previous } = this.#options;
    const fitting = [key, previous].find((one) => one?.id === sealedWith);
    if (fitting !== undefined) return KeyRing.fromPem(unseal(sealed, fitting, { fleetId, serial }));
    const files = [key, previous].flatMap((one) => one?.file ?? []).join(' nor ');
    throw new KeysError(
      `the keys of the fleet do not open with ${files}: they are encrypted under another key, ` +
        `${sealedWith}; give fleet.keys.encryptionKeyFile the file that the other hubs have`,
      { code: 'WRONG_KEY' },
    );
  }

  async #attempt(once: () => Promise<KeyRing | undefined>): Promise<KeyRing> {
    for (let left = RING_ATTEMPTS_MAX; left > 0; left -= 1) {
      // oxlint-disable-next-line no-await-in-loop -- the next attempt is for when this one failed
      const ring = await once();
      if (ring !== undefined) return ring;
    }
    throw new KeysError('the keys of the fleet are changed by others all the time; try again', {
      code: 'KEYS_BUSY',
    });
  }
}
