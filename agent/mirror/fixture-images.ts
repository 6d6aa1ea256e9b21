import { digestOf } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { TestMirror } from './fixture.ts';

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json';
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip';

const FOREIGN_TYPE = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';

/** An image manifest over these layers. */
export function manifestOf(layers: readonly Buffer[], layerType = LAYER_TYPE): object {
  const config = Buffer.from('{"config":true}');
  return {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: { mediaType: CONFIG_TYPE, digest: digestOf(config), size: config.length },
    layers: layers.map((layer) => ({
      mediaType: layerType,
      digest: digestOf(layer),
      size: layer.length,
    })),
  };
}

/** The same of layers that need not be in the registry. */
export function foreignOf(layers: readonly Buffer[]): object {
  return manifestOf(layers, FOREIGN_TYPE);
}

/** Bytes that differ everywhere. */
export function patternBytes(size: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < size; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** Puts a blob where the fetch room finds it, readable under `repository` of the hub. */
export function putHubBlob(on: TestMirror, repository: string, bytes: Buffer): Digest {
  const digest = on.content.put(bytes);
  on.grants.granted.add(`${repository}@${digest}`);
  return digest;
}
