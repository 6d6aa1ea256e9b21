import { digestAlgorithm, digestHex, type Digest } from '../../proto/oci/digest.ts';

// image-spec, "Image Layout": oci-layout, index.json, blobs/<algorithm>/<encoded>.

/** The list of a bundle, and its signature. */
export const LIST_PATH = 'bundle.json';
export const SIGNATURE_PATH = 'bundle.sig';
export const LAYOUT_PATH = 'oci-layout';
export const INDEX_PATH = 'index.json';
/** Held by the export that writes a folder; no part of a bundle. */
export const LOCK_PATH = 'lock';

const FILES = new Set([LIST_PATH, SIGNATURE_PATH, LAYOUT_PATH, INDEX_PATH]);
const BLOB = /^blobs\/(?:sha256\/[0-9a-f]{64}|sha512\/[0-9a-f]{128})$/;
const FOLDERS = ['', '.', 'blobs', 'blobs/sha256', 'blobs/sha512'];

/** Where the bytes of a digest are. */
export function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** Whether a bundle has a file of this name: no other name is ever opened or made. */
export function isBundlePath(name: string): boolean {
  return FILES.has(name) || BLOB.test(name);
}

/** Whether a bundle has a folder of this name. */
export function isBundleFolder(name: string): boolean {
  return FOLDERS.includes(name.replace(/\/$/, ''));
}
