import { CodedError } from '../../proto/std/errors.ts';

type BundleProblem =
  | { code: 'BUNDLE_MISSING'; place: string }
  | { code: 'BUNDLE_FORMAT'; found: unknown }
  | { code: 'BUNDLE_DAMAGED'; what: string }
  /** Nobody whose key is configured has signed it, or its key was revoked. */
  | { code: 'BUNDLE_UNTRUSTED'; reason: string }
  | { code: 'NO_TRUSTED_KEYS' }
  | { code: 'KEY_FILE_INVALID'; file: string }
  /** It builds on earlier bundles that are not there. */
  | { code: 'BASE_MISSING'; bundles: readonly string[] }
  | { code: 'IMAGE_MISSING'; image: string }
  | { code: 'IMAGE_INVALID'; image: string }
  | { code: 'CONTENT_LOST'; digest: string }
  | { code: 'BUNDLE_TOO_LARGE'; what: string }
  | { code: 'TARGET_EXISTS'; target: string }
  | { code: 'TARGET_BUSY'; target: string }
  | { code: 'NAME_TOO_LONG'; name: string }
  | { code: 'TAR_INVALID'; offset: number };

/** Why there is no bundle, or why nothing of it is taken in. */
export class BundleError extends CodedError<BundleProblem> {
  override readonly name = 'BundleError';
}

export function damaged(what: string, cause?: unknown): BundleError {
  const options = cause === undefined ? {} : { cause };
  const message = `the bundle is damaged: ${what}`;
  return new BundleError(message, { code: 'BUNDLE_DAMAGED', what }, options);
}
