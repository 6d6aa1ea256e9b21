import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import { INDEX_PATH, LAYOUT_PATH } from './layout.ts';
import type { BundleList } from './list.ts';

/** image-spec, "Image Layout": the name by which tools find an image in it. */
const REF_NAME = 'org.opencontainers.image.ref.name';
/** The name under which containerd keeps an image that it imports. */
const CONTAINERD_NAME = 'io.containerd.image.name';
/** Tags that are made of a digest name signatures and the like, which nobody runs. */
const DIGEST_TAG = /^sha(?:256|512)-[0-9a-f]{64}/;

type Named = Pick<BundleList, 'host' | 'images' | 'referrers' | 'manifests'>;

/** Contents of the files that make a bundle an OCI image layout; they follow from its list. */
export function layoutFiles(list: Named): ReadonlyMap<string, Buffer> {
  const known = new Map(list.manifests.map((one) => [`${one.repository} ${one.digest}`, one]));
  const descriptors = [...list.images, ...list.referrers].flatMap((root) => {
    const manifest = known.get(`${root.repository} ${root.digest}`);
    if (manifest === undefined) return [];
    const { mediaType, digest, size } = manifest;
    const annotations = annotationsOf(root, list.host);
    return [{ mediaType, digest, size, ...(annotations === undefined ? {} : { annotations }) }];
  });
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: descriptors };
  return new Map([
    [LAYOUT_PATH, Buffer.from(`${JSON.stringify({ imageLayoutVersion: '1.0.0' })}\n`)],
    [INDEX_PATH, Buffer.from(`${JSON.stringify(index)}\n`)],
  ]);
}

function annotationsOf(
  { repository, tag }: { repository: string; tag?: string },
  host: string,
): Record<string, string> | undefined {
  if (tag === undefined) return undefined;
  const name = `${repository}:${tag}`;
  const isRun = !DIGEST_TAG.test(tag);
  return { [REF_NAME]: name, ...(isRun ? { [CONTAINERD_NAME]: `${host}/${name}` } : {}) };
}
