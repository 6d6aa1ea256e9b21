import { randomBytes } from 'node:crypto';
import { digestOf, type Digest, type DigestAlgorithm } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';

export const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
export const OCI_EMPTY = 'application/vnd.oci.empty.v1+json';
export const FOREIGN_LAYER = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
export const EXAMPLE_TYPE = 'application/vnd.example.thing.v1';
export const OTHER_TYPE = 'application/vnd.example.other.v1+json';

export type Blob = { digest: Digest; bytes: Buffer };
export type Descriptor = {
  mediaType: string;
  digest: Digest;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
  data?: string;
  urls?: string[];
  platform?: { os: string; architecture: string };
};
export type Manifest = Blob & {
  mediaType: string;
  /** Members of the JSON text. */
  fields: ManifestFields;
};
export type ManifestFields = {
  artifactType?: string;
  config?: Descriptor;
  layers?: readonly Descriptor[];
  manifests?: readonly Descriptor[];
  subject?: Descriptor;
  annotations?: Record<string, string>;
  /** A member that no specification has. */
  [extra: `org.example.${string}`]: unknown;
};

export const ALGORITHMS = ['sha256', 'sha512'] as const;

export function blobOf(bytes: Buffer, algorithm: DigestAlgorithm = 'sha256'): Blob {
  return { bytes, digest: digestOf(bytes, algorithm) };
}

export function randomBlob(size: number, algorithm?: DigestAlgorithm): Blob {
  return blobOf(randomBytes(size), algorithm);
}

export function emptyJson(algorithm?: DigestAlgorithm): Blob {
  return blobOf(Buffer.from('{}'), algorithm);
}

export function descriptorOf({ digest, bytes }: Blob, mediaType: string): Descriptor {
  return { mediaType, digest, size: bytes.length };
}

/** A manifest with its media type inside, indented, so that nobody rewrites it unnoticed. */
export function manifestOf(
  mediaType: string,
  fields: ManifestFields,
  algorithm?: DigestAlgorithm,
): Manifest {
  const text = JSON.stringify({ schemaVersion: 2, mediaType, ...fields }, undefined, 3);
  return { ...blobOf(Buffer.from(text), algorithm), mediaType, fields };
}

/** An image of these parts. */
export function imageOf(
  config: Blob,
  layers: readonly Blob[],
  more: ManifestFields = {},
  algorithm?: DigestAlgorithm,
): Manifest {
  const fields = {
    config: descriptorOf(config, OCI_CONFIG),
    layers: layers.map((layer) => descriptorOf(layer, OCI_LAYER)),
    ...more,
  };
  return manifestOf(OCI_MANIFEST, fields, algorithm);
}

/** An index of these manifests. */
export function indexOf(
  manifests: readonly Manifest[],
  more: ManifestFields = {},
  algorithm?: DigestAlgorithm,
): Manifest {
  const fields = { manifests: manifests.map((one) => descriptorOf(one, one.mediaType)), ...more };
  return manifestOf(OCI_INDEX, fields, algorithm);
}

/** The same manifest as other bytes. */
export function withBytes(manifest: Manifest, bytes: Buffer): Manifest {
  return { ...manifest, ...blobOf(bytes) };
}

/** How the referrers API lists a manifest (distribution-spec "Listing Referrers"). */
export function referrerOf(manifest: Manifest): Descriptor {
  const { artifactType, config, annotations } = manifest.fields;
  const type = artifactType ?? config?.mediaType;
  return {
    ...descriptorOf(manifest, manifest.mediaType),
    ...(type === undefined ? {} : { artifactType: type }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** A tag that no other check of the run uses. */
export function freshTag(start: string): string {
  return `${start}-${randomBytes(6).toString('hex')}`;
}
