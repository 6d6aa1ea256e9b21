import { parseStrictJson } from '../std/strict-json.ts';
import { MANIFEST_VALUES_MAX, MEDIA_TYPE_MAX_CHARS } from './constants.ts';
import { isDigest, type Digest } from './digest.ts';
import { ociError } from './errors.ts';
import { integerOrNaN, invalid, JsonFields, knownKeys } from './json-fields.ts';
import {
  isIndexMediaType,
  isManifestMediaType,
  isMediaType,
  OCI_ARTIFACT,
  OCI_INDEX,
  OCI_MANIFEST,
  stripParameters,
} from './media-types.ts';

/** Largest manifest accepted, bytes; distribution-spec asks for at least this. */
export const MANIFEST_MAX_BYTES = 4 * 1024 * 1024;
/** Most descriptors one manifest may carry. */
export const DESCRIPTORS_MAX = 10_000;

export type Platform = { os: string; architecture: string; variant?: string };
export type Descriptor = {
  mediaType: string;
  digest: Digest;
  size: number;
  urls?: string[];
  platform?: Platform;
  artifactType?: string;
  annotations?: Record<string, string>;
};
export type ParsedManifest = {
  kind: 'image' | 'index';
  mediaType: string;
  artifactType?: string;
  config?: Descriptor;
  layers: Descriptor[];
  manifests: Descriptor[];
  subject?: Descriptor;
  annotations: Record<string, string>;
};

const MANIFEST_KEYS = knownKeys(
  'schemaVersion',
  'mediaType',
  'artifactType',
  'annotations',
  'subject',
  'config',
  'layers',
  'manifests',
  'blobs',
  'fsLayers',
);
const DESCRIPTOR_KEYS = knownKeys(
  'mediaType',
  'digest',
  'size',
  'urls',
  'platform',
  'artifactType',
  'annotations',
  'data',
);
const PLATFORM_KEYS = knownKeys('os', 'architecture', 'variant');
/** Members that make a manifest of one type look like one of another, CVE-2021-41190. */
const ALIEN_KEYS = {
  index: ['layers', 'config', 'blobs', 'fsLayers'],
  image: ['manifests', 'blobs', 'fsLayers'],
  artifact: ['manifests', 'layers', 'config', 'fsLayers'],
} as const;
const FOREIGN_LAYERS = [
  'application/vnd.oci.image.layer.nondistributable.',
  'application/vnd.docker.image.rootfs.foreign.',
];

/**
 * Reads an image manifest, index, Docker schema 2 manifest or list, or artifact manifest
 * (image-spec). `contentType` is what the client declared; it must agree with the body.
 *
 * @throws OciError MANIFEST_INVALID; UNSUPPORTED for Docker schema 1
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): ParsedManifest {
  if (bytes.length > MANIFEST_MAX_BYTES) {
    throw ociError('MANIFEST_INVALID', `a manifest has at most ${MANIFEST_MAX_BYTES} bytes`, {
      status: 413,
    });
  }
  const fields = new JsonFields(jsonOf(bytes), '', MANIFEST_KEYS);
  const mediaType = mediaTypeOf(fields, contentType);
  const kind = kindOf(mediaType);
  const alien = ALIEN_KEYS[kind].find((key) => fields.has(key));
  if (alien !== undefined) throw invalid(`${alien} does not belong into ${mediaType}`);
  const artifactType = fields.text('artifactType');
  if (artifactType !== undefined && !isShortLine(artifactType)) {
    throw invalid('artifactType is too long for a media type or has control characters');
  }
  const subject = optionalDescriptor(fields, 'subject');
  return {
    kind: kind === 'index' ? 'index' : 'image',
    mediaType,
    layers: kind === 'index' ? [] : descriptorsOf(fields, kind === 'image' ? 'layers' : 'blobs'),
    manifests: kind === 'index' ? descriptorsOf(fields, 'manifests') : [],
    annotations: fields.textMap('annotations') ?? {},
    ...(kind === 'image' ? { config: descriptorOf(fields.value('config'), 'config') } : {}),
    ...(subject === undefined ? {} : { subject }),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

/**
 * True for layers that need not be in the registry (image-spec "non-distributable", Docker
 * foreign).
 */
export function isForeignLayer({ mediaType }: Descriptor): boolean {
  return FOREIGN_LAYERS.some((prefix) => mediaType.startsWith(prefix));
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes, { numberOf: integerOrNaN, valuesMax: MANIFEST_VALUES_MAX });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : 'not JSON';
    throw ociError('MANIFEST_INVALID', `manifest is not strict JSON: ${message}`, { cause });
  }
}

/** Clients write more than media types here; what no list or index of it can hold is refused. */
function isShortLine(text: string): boolean {
  return text.length <= MEDIA_TYPE_MAX_CHARS && !/\p{Cc}/u.test(text);
}

function mediaTypeOf(fields: JsonFields, contentType: string | undefined): string {
  const version = fields.value('schemaVersion');
  if (version === 1) {
    const message = 'Docker schema 1 manifests are not supported; build the image again';
    throw ociError('UNSUPPORTED', message, { status: 400 });
  }
  const own = fields.text('mediaType');
  const declared = stripParameters(contentType ?? '') || undefined;
  if (own !== undefined && declared !== undefined && own !== declared) {
    throw invalid('mediaType differs from the Content-Type');
  }
  const type = own ?? declared ?? (fields.has('manifests') ? OCI_INDEX : OCI_MANIFEST);
  if (!isManifestMediaType(type)) throw invalid('the media type is not that of a manifest');
  if (version !== 2 && type !== OCI_ARTIFACT) throw invalid('schemaVersion is not 2');
  return type;
}

function kindOf(mediaType: string): keyof typeof ALIEN_KEYS {
  if (mediaType === OCI_ARTIFACT) return 'artifact';
  return isIndexMediaType(mediaType) ? 'index' : 'image';
}

/** Only an artifact may do without its list; null stands for an empty one. */
function descriptorsOf(fields: JsonFields, key: 'layers' | 'blobs' | 'manifests'): Descriptor[] {
  if (key !== 'blobs' && !fields.has(key)) throw invalid(`${key} is missing`);
  const list = fields.list(key) ?? [];
  if (list.length > DESCRIPTORS_MAX) {
    throw invalid(`a manifest has at most ${DESCRIPTORS_MAX} descriptors`);
  }
  return list.map((entry, i) => descriptorOf(entry, `${key}[${i}]`));
}

function optionalDescriptor(fields: JsonFields, key: string): Descriptor | undefined {
  const value = fields.value(key);
  return value === undefined ? undefined : descriptorOf(value, key);
}

function descriptorOf(value: unknown, where: string): Descriptor {
  if (value === undefined) throw invalid(`${where} is missing`);
  const fields = new JsonFields(value, where, DESCRIPTOR_KEYS);
  const mediaType = fields.text('mediaType') ?? '';
  if (!isMediaType(mediaType)) throw invalid(`${where}.mediaType is not type/subtype`);
  const digest = fields.text('digest') ?? '';
  if (!isDigest(digest)) throw invalid(`${where}.digest is not a supported digest`);
  const urls = fields.texts('urls');
  const platform = platformOf(fields.value('platform'), `${where}.platform`);
  const artifactType = fields.text('artifactType');
  const annotations = fields.textMap('annotations');
  return {
    mediaType,
    digest,
    size: fields.size('size'),
    ...(urls === undefined ? {} : { urls }),
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function platformOf(value: unknown, where: string): Platform | undefined {
  if (value === undefined) return undefined;
  const fields = new JsonFields(value, where, PLATFORM_KEYS);
  const variant = fields.text('variant');
  return {
    os: fields.text('os') ?? '',
    architecture: fields.text('architecture') ?? '',
    ...(variant === undefined ? {} : { variant }),
  };
}
