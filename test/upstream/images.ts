import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { blobOf, seededLayer, type Blob } from './content.ts';

const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
const OCI_TAR = 'application/vnd.oci.image.layer.v1.tar';

export type Platform = { os: string; architecture: string; variant?: string };

/** Layers are made of their seeds; the same seed and size give the same layer again. */
export type LayerPlan = { seed: string; bytes: number };

export type ImagePlan = {
  repository: string;
  tags?: readonly string[];
  /** For each platform its layers. One without `index` is a plain image manifest. */
  platforms: readonly (Platform & { layers: readonly LayerPlan[] })[];
  /** false: the first platform's manifest alone, no index. Default true. */
  index?: boolean;
};

export type StoredManifest = { bytes: Buffer; digest: Digest; mediaType: string };

/** What a test knows of an image: names and sizes, all as JSON can carry them. */
export type AddedImage = {
  repository: string;
  /** Of the index, or of the only manifest. */
  digest: Digest;
  /** Bytes of manifests, configs and layers. */
  size: number;
  manifests: readonly (Platform & {
    digest: Digest;
    config: { digest: Digest; size: number };
    layers: readonly { digest: Digest; size: number }[];
  })[];
};

/** An image as the plan says, ready to be stored. */
export function buildImage(plan: ImagePlan): {
  added: AddedImage;
  blobs: readonly Blob[];
  manifests: readonly StoredManifest[];
} {
  const built = plan.platforms.map((platform) => buildPlatform(platform));
  const manifests = built.map(({ manifest }) => manifest);
  const [first] = manifests;
  if (first === undefined) throw new Error(`${plan.repository} has no platform`);
  const top = plan.index === false ? first : indexOf(built);
  if (top !== first) manifests.push(top);
  const blobs = built.flatMap((each) => each.blobs);
  const different = new Map(blobs.map(({ digest, size }) => [digest, size]));
  const sizes = [...manifests.map(({ bytes }) => bytes.length), ...different.values()];
  const added: AddedImage = {
    repository: plan.repository,
    digest: top.digest,
    size: sizes.reduce((sum, size) => sum + size, 0),
    manifests: built.map(({ described }) => described),
  };
  return { added, blobs, manifests };
}

type Built = {
  platform: Platform;
  manifest: StoredManifest;
  blobs: Blob[];
  described: AddedImage['manifests'][number];
};

function buildPlatform({ layers: plans, ...platform }: ImagePlan['platforms'][number]): Built {
  const layers = plans.map(({ seed, bytes }) => seededLayer(seed, bytes));
  const diffIds = layers.map(({ digest }) => digest);
  const rootfs = { type: 'layers', diff_ids: diffIds };
  const config = blobOf(json({ ...platform, config: { Cmd: ['/bin/sh'] }, rootfs }));
  const manifest = stored(OCI_MANIFEST, {
    config: descriptor(config, OCI_CONFIG),
    layers: layers.map((layer) => descriptor(layer, OCI_TAR)),
  });
  const names = { config: named(config), layers: layers.map(named) };
  const described = { ...platform, digest: manifest.digest, ...names };
  return { platform, manifest, blobs: [config, ...layers], described };
}

function descriptor({ digest, size }: Blob, mediaType: string): object {
  return { mediaType, digest, size };
}

function named({ digest, size }: Blob): { digest: Digest; size: number } {
  return { digest, size };
}

function indexOf(built: readonly Built[]): StoredManifest {
  const manifests = built.map(({ manifest, platform }) => {
    const { digest, mediaType, bytes } = manifest;
    return { mediaType, digest, size: bytes.length, platform };
  });
  return stored(OCI_INDEX, { manifests });
}

function stored(mediaType: string, fields: object): StoredManifest {
  const bytes = json({ schemaVersion: 2, mediaType, ...fields });
  return { bytes, digest: digestOf(bytes), mediaType };
}

function json(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}
