import {
  BundleKeyAnswer,
  BundleKeyChange,
  BundleSignature,
  BundleToSign,
} from '../../proto/hubapi/bundles.ts';
import { parseDigest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { route, type ApiRoute } from './route.ts';

export type BundleRouteModules = { fleet: Pick<Fleet, 'bundleKeys'>; logger: Logger };

/** What whoever exports bundles asks for. */
export function bundleRoutes({ fleet, logger }: BundleRouteModules): ApiRoute[] {
  const [tag, allowed] = ['bundles', 'admin'] as const;
  const key = (): BundleKeyAnswer => {
    const { fleetId, fingerprint, keyId, publicKey, keys } = fleet.bundleKeys.public();
    return {
      fleetId,
      fingerprint,
      keyId: keyId.toString('hex'),
      publicKey: publicKey.toString('hex'),
      keys: keys.toString('base64'),
    };
  };
  return [
    route('POST /bundles/signatures', {
      tag,
      allowed,
      summary: 'signs the list of a bundle',
      status: 201,
      body: BundleToSign,
      answer: BundleSignature,
      run: async ({ body: { digest, size } }) => {
        const { statement, keys } = fleet.bundleKeys.sign({ digest: parseDigest(digest), size });
        logger.info({ digest, size }, 'list of a bundle signed');
        return { statement: statement.toString('base64'), keys: keys.toString('base64') };
      },
    }),
    route('GET /bundles/key', {
      tag,
      allowed,
      summary: 'the key that bundles are signed with, for whoever imports them',
      answer: BundleKeyAnswer,
      run: async () => key(),
    }),
    route('POST /keys/bundle/replace', {
      tag: 'fleet',
      allowed,
      summary: 'signs bundles with a new key; can end what the old one signed',
      body: BundleKeyChange,
      answer: BundleKeyAnswer,
      run: async ({ body }) => {
        await fleet.bundleKeys.replace(body);
        logger.info({ ...body }, 'key for bundles replaced');
        return key();
      },
    }),
  ];
}
