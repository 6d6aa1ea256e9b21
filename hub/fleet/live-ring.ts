import type { KeyObject } from 'node:crypto';
import type { KeyRing } from '../../proto/trust/key-ring.ts';
import type { KeyPurpose, SigningKey } from '../../proto/trust/keys.ts';
import { RING_LOOK_GAP_MS } from './constants.ts';
import { FreshLook } from './fresh-look.ts';

/** Where a ring is kept. */
export type RingHome = {
  change(work: (ring: KeyRing) => void, own: KeyRing): Promise<KeyRing>;
  /** The ring when it has changed since; absent where nobody else changes it. */
  newer?(serial: number): Promise<KeyRing | undefined>;
};

/** The keys in force, whoever of the hubs that share them changed them last. */
export class LiveRing {
  readonly #home: RingHome;
  readonly #spreadMs: number;
  #ring: KeyRing;
  #bundle: { serial: number; bytes: Buffer };
  /** Learns what other hubs changed; undefined when there are none. */
  readonly look: (() => Promise<void>) | undefined;

  /** `spreadMs`: for so long after a key was replaced, another hub may still sign with it. */
  constructor(options: { ring: KeyRing; spreadMs: number }, modules: { home: RingHome }) {
    this.#ring = options.ring;
    this.#spreadMs = options.spreadMs;
    this.#bundle = { serial: options.ring.serial, bytes: options.ring.bundle() };
    this.#home = modules.home;
    const look = new FreshLook({ gapMs: RING_LOOK_GAP_MS }, { look: () => this.#look() });
    this.look = modules.home.newer === undefined ? undefined : () => look.ask();
  }

  get serial(): number {
    return this.#ring.serial;
  }

  signingKey(purpose: KeyPurpose): SigningKey {
    return this.#ring.signingKey(purpose);
  }

  /** As KeyRing; a key that was replaced signed nothing after `retiredMs`. */
  verificationKey(
    purpose: KeyPurpose,
    keyId: string,
  ): { publicKey: KeyObject; retiredMs?: number } | undefined {
    const found = this.#ring.verificationKey(purpose, keyId);
    if (found?.retiredMs === undefined) return found;
    return { ...found, retiredMs: found.retiredMs + this.#spreadMs };
  }

  /** The root-signed list of all keys, signed anew when the ring has changed. */
  bundle(): Buffer {
    if (this.#bundle.serial !== this.serial) {
      this.#bundle = { serial: this.serial, bytes: this.#ring.bundle() };
    }
    return this.#bundle.bytes;
  }

  /** As KeyRing. */
  sealed(tag: string, bytes: Uint8Array): Buffer {
    return this.#ring.sealed(tag, bytes);
  }

  fingerprint(): string {
    return this.#ring.fingerprint();
  }

  /** Changes the ring for all hubs; the change counts here when it is stored. */
  async change(work: (ring: KeyRing) => void): Promise<void> {
    this.#take(await this.#home.change(work, this.#ring));
  }

  async #look(): Promise<void> {
    const ring = await this.#home.newer?.(this.serial);
    if (ring !== undefined) this.#take(ring);
  }

  #take(ring: KeyRing): void {
    if (ring.serial > this.serial) this.#ring = ring;
  }
}
