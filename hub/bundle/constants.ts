/** Largest list `bundle.json` of a bundle that is written or read, bytes. */
export const BUNDLE_LIST_MAX_BYTES = 64 * 1024 * 1024;
/** Largest signature `bundle.sig` that is read, bytes. */
export const BUNDLE_SIGNATURE_MAX_BYTES = 64 * 1024;
/** Largest file with the key of an exporter that is read, bytes. */
export const TRUSTED_KEY_MAX_BYTES = 64 * 1024;
/** Keys of exporters in `bundles.trustedKeys`. */
export const TRUSTED_KEYS_MAX = 64;
/** Entries of one bundle: manifests and blobs. */
export const BUNDLE_ENTRIES_MAX = 200_000;
/** Earlier bundles that one bundle builds on. */
export const BUNDLE_CHAIN_MAX = 1000;
/** Images that are named in one export. */
export const BUNDLE_IMAGES_MAX = 10_000;
/** How deep indexes and what refers to them may be nested. */
export const BUNDLE_DEPTH_MAX = 16;
/** Pages of referrers of one manifest that are followed. */
export const REFERRER_PAGES_MAX = 1000;
/** Largest page of referrers that is read, bytes. */
export const REFERRER_PAGE_MAX_BYTES = 8 * 1024 * 1024;
/** Records of a tar archive of others that are looked at. */
export const TAR_RECORDS_MAX = 4 * BUNDLE_ENTRIES_MAX;
/** Largest pax header of a tar archive that is read, bytes. */
export const TAR_PAX_MAX_BYTES = 64 * 1024;
/** Size of a blob from which an upload that was broken off is gone on with by a later import. */
export const RESUMED_UPLOAD_MIN_BYTES = 16 * 1024 * 1024;
/** Uploads that an import remembers. */
export const REMEMBERED_UPLOADS_MAX = 64;
/** Problems of a bundle that are listed; more are only counted. */
export const BUNDLE_PROBLEMS_MAX = 100;
