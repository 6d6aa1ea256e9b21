import { Type, type Static } from 'typebox';
import { API_BASE } from './admin.ts';

/** Where the lists of bundles are signed, and the key for that is told and replaced. */
export const BUNDLE_SIGNATURES_PATH = `${API_BASE}/bundles/signatures`;
export const BUNDLE_KEY_PATH = `${API_BASE}/bundles/key`;
export const BUNDLE_KEY_REPLACE_PATH = `${API_BASE}/keys/bundle/replace`;

const BASE64_MAX_CHARS = 32_768;
const Base64 = Type.String({ maxLength: BASE64_MAX_CHARS, pattern: '^[A-Za-z0-9+/]+={0,2}$' });
const Hex = (chars: number) => Type.String({ pattern: `^[0-9a-f]{${chars}}$` });
const CLOSED = { additionalProperties: false };

/** The list of a bundle. */
export const BundleToSign = Type.Object(
  {
    digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$', description: 'of bundle.json' }),
    size: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  },
  CLOSED,
);

/** What stands in `bundle.sig`. */
export const BundleSignature = Type.Object({
  statement: Base64,
  keys: Type.String({ ...Base64, description: 'all keys of the fleet, signed by its root' }),
});
export type BundleSignature = Static<typeof BundleSignature>;

export const BundleKeyAnswer = Type.Object({
  fleetId: Type.String({ minLength: 1, maxLength: 255 }),
  fingerprint: Type.String({ ...Hex(64), description: 'SHA-256 of the root key of the fleet' }),
  keyId: Hex(16),
  publicKey: Type.String({ ...Hex(64), description: 'Ed25519, of the key that signs bundles' }),
  keys: Base64,
});
export type BundleKeyAnswer = Static<typeof BundleKeyAnswer>;

export const BundleKeyChange = Type.Object(
  { revoke: Type.Boolean({ description: 'what the old key has signed is no longer believed' }) },
  CLOSED,
);
