import { checkBody } from '../../proto/hubapi/body.ts';
import {
  BUNDLE_KEY_PATH,
  BUNDLE_KEY_REPLACE_PATH,
  BUNDLE_SIGNATURES_PATH,
  BundleKeyAnswer,
  BundleSignature,
} from '../../proto/hubapi/bundles.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { askAdministration } from '../../proto/ops/admin-request.ts';
import type { AdminTarget } from '../../proto/ops/join-token-request.ts';
import { formatSignature, type ExporterKey } from './signature.ts';

/** The key of a running hub for its bundles, which never leaves it; asked as its administrator. */
export class HubKey {
  readonly #target: AdminTarget;

  constructor(target: AdminTarget) {
    this.#target = target;
  }

  /** @throws AdminError */
  async show(): Promise<BundleKeyAnswer> {
    const answer = await askAdministration(this.#target, { method: 'GET', path: BUNDLE_KEY_PATH });
    return checkBody(BundleKeyAnswer, answer);
  }

  /** As importers know it. @throws AdminError */
  async exporter(): Promise<ExporterKey> {
    const { fleetId, fingerprint, keys } = await this.show();
    return { fleetId, fingerprint, keys: Buffer.from(keys, 'base64') };
  }

  /** Bytes of `bundle.sig` for this list. @throws AdminError */
  async sign(list: Buffer): Promise<Buffer> {
    const body = { digest: digestOf(list), size: list.length };
    const wanted = { method: 'POST', path: BUNDLE_SIGNATURES_PATH, body } as const;
    const answer = await askAdministration(this.#target, wanted);
    return formatSignature(checkBody(BundleSignature, answer));
  }

  /** Has the hub sign with a new key. @throws AdminError */
  async replace({ revoke }: { revoke: boolean }): Promise<BundleKeyAnswer> {
    const wanted = { method: 'POST', path: BUNDLE_KEY_REPLACE_PATH, body: { revoke } } as const;
    return checkBody(BundleKeyAnswer, await askAdministration(this.#target, wanted));
  }
}
