import { checkBody } from '../../proto/hubapi/body.ts';
import { BundleSignature, type BundleKeyAnswer } from '../../proto/hubapi/bundles.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { hasCode, messageOf } from '../../proto/std/errors.ts';
import { verifyBundleStatement } from '../../proto/trust/bundle-statement.ts';
import { TrustStore } from '../../proto/trust/trust-store.ts';
import { BundleError, damaged } from './errors.ts';

/** An exporter that is believed: its fleet, by the fingerprint of the root of its keys. */
export type ExporterKey = { fleetId: string; fingerprint: string; keys: Buffer };

/** Who signed a bundle, and when, ms since 1970. */
export type Signer = { fleetId: string; fingerprint: string; timeMs: number };

const TITLE = 'flotilla bundle key 1';

/** The file by which importers learn an exporter's key. */
export function formatKeyFile({ fleetId, fingerprint, keyId, publicKey, keys }: BundleKeyAnswer) {
  const lines = (keys.match(/.{1,76}/g) ?? []).join('\n');
  return (
    `# ${TITLE}\n# fleet: ${fleetId}\n# fingerprint: ${fingerprint}\n` +
    `# public key: ${publicKey} (${keyId})\n${lines}\n`
  );
}

/** Reads such a file. @throws BundleError KEY_FILE_INVALID */
export function parseKeyFile(text: string, file: string): ExporterKey {
  const field = (name: string, pattern: string): string | undefined =>
    new RegExp(`^# ${name}: (${pattern})$`, 'm').exec(text)?.[1];
  const fleetId = field('fleet', '.{1,255}');
  const fingerprint = field('fingerprint', '[0-9a-f]{64}');
  const body = text.replaceAll(/^#.*$/gm, '').replaceAll(/\s/g, '');
  try {
    if (text.startsWith(`# ${TITLE}\n`) && fleetId !== undefined && fingerprint !== undefined) {
      const keys = Buffer.from(body, 'base64');
      new TrustStore({ rootFingerprint: fingerprint }).load(keys);
      return { fleetId, fingerprint, keys };
    }
  } catch {
    // As one that lacks something.
  }
  const message = `${file} is no key of an exporter; write it with "flotilla bundle key" there`;
  throw new BundleError(message, { code: 'KEY_FILE_INVALID', file });
}

/** Bytes of `bundle.sig`. */
export function formatSignature(signature: BundleSignature): Buffer {
  return Buffer.from(`${JSON.stringify(signature)}\n`);
}

/**
 * Who of the believed exporters signed this list. Keys that come with the bundle count when they
 * are newer than the ones known, so that an exporter may replace its own; a key that the known ones
 * revoke stays revoked.
 * @throws BundleError BUNDLE_UNTRUSTED, BUNDLE_DAMAGED, NO_TRUSTED_KEYS
 */
export function verifySignature(
  list: Buffer,
  signatureBytes: Buffer,
  believed: readonly ExporterKey[],
): Signer {
  if (believed.length === 0) {
    throw new BundleError(
      'no key of an exporter is configured: give --trust FILE or set bundles.trustedKeys, with ' +
        'what "flotilla bundle key" prints at the exporter',
      { code: 'NO_TRUSTED_KEYS' },
    );
  }
  const signature = signatureOf(signatureBytes);
  const statementBytes = Buffer.from(signature.statement, 'base64');
  const reasons = new Set<string>();
  for (const exporter of believed) {
    try {
      const statement = verifyBundleStatement(statementBytes, trustOf(exporter, signature));
      if (statement.fleetId !== exporter.fleetId) {
        reasons.add('it is signed for another fleet');
      } else if (statement.size !== list.length || statement.digest !== digestOf(list)) {
        reasons.add('the signature is of another bundle.json');
      } else {
        const { fleetId, fingerprint } = exporter;
        return { fleetId, fingerprint, timeMs: statement.timeMs };
      }
    } catch (err) {
      reasons.add(
        hasCode(err, 'UNKNOWN_KEY') ? 'nobody with a trusted key has signed it' : messageOf(err),
      );
    }
  }
  const all = [...reasons];
  const reason = all.find((one) => !one.startsWith('nobody')) ?? all.join('; ');
  const message = `the bundle is not believed: ${reason}`;
  throw new BundleError(message, { code: 'BUNDLE_UNTRUSTED', reason });
}

function trustOf(exporter: ExporterKey, signature: BundleSignature): TrustStore {
  const trust = new TrustStore({ rootFingerprint: exporter.fingerprint });
  trust.load(exporter.keys);
  try {
    trust.load(Buffer.from(signature.keys, 'base64'));
  } catch {
    // Older, or of another fleet: the known ones count.
  }
  return trust;
}

function signatureOf(bytes: Buffer): BundleSignature {
  try {
    return checkBody(BundleSignature, JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw damaged('bundle.sig is no signature', cause);
  }
}
