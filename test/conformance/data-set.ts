import { randomBytes } from 'node:crypto';
import type { DigestAlgorithm } from '../../proto/oci/digest.ts';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../proto/oci/media-types.ts';
import {
  blobOf,
  descriptorOf,
  emptyJson,
  EXAMPLE_TYPE,
  FOREIGN_LAYER,
  freshTag,
  indexOf,
  manifestOf,
  OCI_CONFIG,
  OCI_EMPTY,
  OCI_LAYER,
  randomBlob,
  type Blob,
  type Descriptor,
  type Manifest,
  type ManifestFields,
} from './content.ts';

const LAYER_BYTES = 400;
const PLATFORMS = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
];

type ImageParts = {
  layers?: readonly Blob[];
  layerType?: string;
  config?: Blob;
  configType?: string;
  more?: ManifestFields;
  tag?: string;
};

/** Content that belongs together: what is pushed, in this order, and under which tags. */
export class DataSet {
  readonly blobs: Blob[] = [];
  readonly manifests: { manifest: Manifest; tags: string[] }[] = [];
  readonly algorithm: DigestAlgorithm;

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm;
  }

  /** Random bytes, pushed with the set. */
  layer(): Blob {
    return this.blob(randomBytes(LAYER_BYTES));
  }

  blob(bytes: Buffer): Blob {
    const blob = blobOf(bytes, this.algorithm);
    this.blobs.push(blob);
    return blob;
  }

  /** An image with a configuration and one layer, unless said otherwise. */
  image(parts: ImageParts = {}): Manifest {
    const { layerType = OCI_LAYER, configType = OCI_CONFIG } = parts;
    const text = JSON.stringify({ ...PLATFORMS[0], id: randomBytes(8).toString('hex') });
    const config = parts.config ?? this.blob(Buffer.from(text));
    const layers = parts.layers ?? [this.layer()];
    const fields = {
      config: descriptorOf(config, configType),
      layers: layers.map((one) => descriptorOf(one, layerType)),
      ...parts.more,
    };
    return this.add(manifestOf(OCI_MANIFEST, fields, this.algorithm), parts.tag);
  }

  index(children: readonly Manifest[], more: ManifestFields = {}, tag?: string): Manifest {
    return this.add(indexOf(children, more, this.algorithm), tag);
  }

  add(manifest: Manifest, tag?: string): Manifest {
    this.manifests.push({ manifest, tags: tag === undefined ? [] : [freshTag(tag)] });
    return manifest;
  }

  /** The empty object, pushed with the set. */
  empty(): Blob {
    return this.blob(Buffer.from('{}'));
  }

  artifact(more: ManifestFields = {}, tag?: string): Manifest {
    const parts = { config: this.empty(), configType: OCI_EMPTY, layerType: EXAMPLE_TYPE };
    const own = { artifactType: EXAMPLE_TYPE, ...more };
    return this.image({ ...parts, more: own, ...(tag === undefined ? {} : { tag }) });
  }
}

function descriptor(manifest: Manifest): Descriptor {
  return descriptorOf(manifest, manifest.mediaType);
}

/** With the content in the descriptor itself. */
function inline(blob: Blob, type: string): Descriptor {
  return { ...descriptorOf(blob, type), data: blob.bytes.toString('base64') };
}

function unique(): Record<string, string> {
  return { 'org.example.id': randomBytes(8).toString('hex'), 'org.example.text': 'a test' };
}

/** Platforms with annotations of their own. */
function platformsOf(children: readonly Manifest[]): Descriptor[] {
  return children.map((child, i) => {
    const platform = PLATFORMS[i] ?? { os: 'linux', architecture: 'riscv64' };
    return { ...descriptor(child), platform, annotations: unique() };
  });
}

function dockerImage(set: DataSet, tag?: string): Manifest {
  const config = descriptorOf(set.layer(), 'application/vnd.docker.container.image.v1+json');
  const type = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
  const fields = { config, layers: [descriptorOf(set.layer(), type)] };
  return set.add(manifestOf(DOCKER_MANIFEST, fields, set.algorithm), tag);
}

/** What each set holds, by name. */
export const DATA_SETS: Readonly<Record<string, (set: DataSet) => void>> = {
  image: (set) => void set.image({ tag: 'image', layers: [set.layer(), set.layer()] }),
  index: (set) => {
    const manifests = platformsOf([set.image(), set.image()]);
    set.add(manifestOf(OCI_INDEX, { manifests }, set.algorithm), 'index');
  },
  'nested index': (set) => {
    const [one, two] = [set.index([set.image(), set.image()]), set.index([set.image()])];
    set.index([one, two], {}, 'nested');
  },
  'empty index': (set) => void set.index([], { annotations: unique() }, 'empty-index'),
  artifact: (set) => void set.artifact({}, 'artifact'),
  'artifact without layers': (set) => {
    const layers = [set.empty()];
    const types = { configType: OCI_EMPTY, layerType: OCI_EMPTY };
    const more = { artifactType: EXAMPLE_TYPE, annotations: unique() };
    set.image({ config: emptyJson(set.algorithm), layers, ...types, more, tag: 'bare-artifact' });
  },
  'artifact of its config type': (set) =>
    void set.image({ configType: EXAMPLE_TYPE, layerType: EXAMPLE_TYPE, tag: 'old-artifact' }),
  'index of artifacts': (set) =>
    void set.index([set.artifact(), set.artifact()], { artifactType: EXAMPLE_TYPE }, 'artifacts'),
  subject: (set) => {
    const subject = descriptor(set.image({ tag: 'subject' }));
    set.image({ more: { subject } });
    set.artifact({ subject, annotations: unique() }, 'attached');
    set.artifact({ subject, annotations: unique(), artifactType: OCI_CONFIG });
  },
  'missing subject': (set) => {
    const subject = descriptorOf(randomBlob(99, set.algorithm), OCI_MANIFEST);
    set.artifact({ subject, annotations: unique() }, 'waiting');
  },
  'index with subject': (set) => {
    const subject = descriptor(set.index([set.image()], {}, 'subject-index'));
    const more = { subject, artifactType: EXAMPLE_TYPE, annotations: unique() };
    set.index([set.artifact()], more, 'attached-index');
  },
  'data field': (set) => {
    const config = set.empty();
    const layer = set.layer();
    const fields = { config: inline(config, OCI_EMPTY), layers: [inline(layer, OCI_LAYER)] };
    set.add(manifestOf(OCI_MANIFEST, fields, set.algorithm), 'data');
  },
  'foreign layers': (set) => {
    const urls = ['https://layers.example.com/one'];
    const foreign = { ...descriptorOf(randomBlob(77, set.algorithm), FOREIGN_LAYER), urls };
    const layers = [foreign, descriptorOf(set.layer(), OCI_LAYER)];
    const fields = { config: descriptorOf(set.empty(), OCI_CONFIG), layers };
    set.add(manifestOf(OCI_MANIFEST, fields, set.algorithm), 'foreign');
  },
  'custom fields': (set) => {
    const more: ManifestFields = { 'org.example.custom': { deep: [1, 'two', { three: null }] } };
    set.index([set.image({ more })], more, 'custom');
  },
  'no layers': (set) => void set.image({ layers: [], tag: 'no-layers' }),
  'empty blob': (set) => void set.image({ layers: [set.blob(Buffer.alloc(0))], tag: 'nothing' }),
};

/** What clients pushed before there was the specification, and some push to this day. */
export const DOCKER_SETS: Readonly<Record<string, (set: DataSet) => void>> = {
  'docker image': (set) => void dockerImage(set, 'docker'),
  'docker list': (set) => {
    const manifests = platformsOf([dockerImage(set), dockerImage(set)]);
    set.add(manifestOf(DOCKER_LIST, { manifests }, set.algorithm), 'docker-list');
  },
};

/** Sets that name content nobody pushed, which a registry may refuse. */
export const SPARSE_SETS: Readonly<Record<string, (set: DataSet) => void>> = {
  'sparse image': (set) => {
    const layers = [randomBlob(LAYER_BYTES, set.algorithm), set.layer()];
    set.image({ layers, tag: 'sparse-image' });
  },
  'sparse index': (set) => {
    const absent = descriptorOf(randomBlob(LAYER_BYTES, set.algorithm), OCI_MANIFEST);
    const manifests = [descriptor(set.image()), absent];
    set.add(manifestOf(OCI_INDEX, { manifests }, set.algorithm), 'sparse-index');
  },
};
