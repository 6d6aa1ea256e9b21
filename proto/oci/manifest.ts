import { parseStrictJson } from '../std/strict-json.ts';
import { isDigest, type Digest } from './digest.ts';
import { ociError } from './errors.ts';
import {
  DOCKER_LIST,
  isManifestMediaType,
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

type Fields = Record<string, unknown>;

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
  const fields = objectOf(jsonOf(bytes), 'manifest');
  const mediaType = mediaTypeOf(fields, contentType);
  const isIndex = mediaType === OCI_INDEX || mediaType === DOCKER_LIST;
  const alien = isIndex ? ['layers', 'config', 'blobs'] : ['manifests'];
  const clash = alien.find((key) => key in fields);
  if (clash !== undefined) throw invalid(`${clash} does not belong into ${mediaType}`);
  const layers = listOf(fields, mediaType === OCI_ARTIFACT ? 'blobs' : 'layers');
  const manifests = listOf(fields, 'manifests');
  if (layers.length + manifests.length > DESCRIPTORS_MAX) {
    throw invalid(`a manifest has at most ${DESCRIPTORS_MAX} descriptors`);
  }
  const artifactType = textOf(fields, 'artifactType');
  const needsConfig = !isIndex && mediaType !== OCI_ARTIFACT;
  if (needsConfig && fields['config'] === undefined) throw invalid('config is missing');
  return {
    kind: isIndex ? 'index' : 'image',
    mediaType,
    layers: layers.map((entry, i) => descriptorOf(entry, `layers[${i}]`)),
    manifests: manifests.map((entry, i) => descriptorOf(entry, `manifests[${i}]`)),
    annotations: annotationsOf(fields['annotations'], 'annotations'),
    ...(needsConfig ? { config: descriptorOf(fields['config'], 'config') } : {}),
    ...(fields['subject'] === undefined
      ? {}
      : { subject: descriptorOf(fields['subject'], 'subject') }),
    ...(artifactType === undefined ? {} : { artifactType }),
  };
}

/**
 * True for layers that need not be in the registry (image-spec "non-distributable", Docker
 * foreign).
 */
export function isForeignLayer({ mediaType }: Descriptor): boolean {
  return mediaType.includes('.nondistributable.') || mediaType.includes('.foreign.');
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : 'not JSON';
    throw ociError('MANIFEST_INVALID', `manifest is not strict JSON: ${message}`, { cause });
  }
}

function mediaTypeOf(fields: Fields, contentType: string | undefined): string {
  const version = fields['schemaVersion'];
  if (version === 1)
    throw ociError('UNSUPPORTED', 'Docker schema 1 manifests are not supported', { status: 400 });
  const own = textOf(fields, 'mediaType');
  const declared = contentType === undefined ? undefined : stripParameters(contentType);
  const known = declared !== undefined && isManifestMediaType(declared) ? declared : undefined;
  if (own !== undefined && known !== undefined && own !== known) {
    throw invalid('mediaType differs from the Content-Type');
  }
  const type = own ?? known ?? ('manifests' in fields ? OCI_INDEX : OCI_MANIFEST);
  if (!isManifestMediaType(type)) throw invalid('mediaType is not that of a manifest');
  if (version !== 2 && type !== OCI_ARTIFACT) throw invalid('schemaVersion is not 2');
  return type;
}

function descriptorOf(value: unknown, where: string): Descriptor {
  const fields = objectOf(value, where);
  const { digest, size } = fields as { digest?: unknown; size?: unknown };
  if (typeof digest !== 'string' || !isDigest(digest)) throw invalid(`${where}.digest is invalid`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`${where}.size is not a whole number of bytes`);
  }
  const urls = fields['urls'];
  const platform = platformOf(fields['platform']);
  const artifactType = textOf(fields, 'artifactType');
  return {
    mediaType: textOf(fields, 'mediaType') ?? '',
    digest,
    size,
    ...(Array.isArray(urls) ? { urls: urls.filter((url) => typeof url === 'string') } : {}),
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(fields['annotations'] === undefined
      ? {}
      : { annotations: annotationsOf(fields['annotations'], where) }),
  };
}

function platformOf(value: unknown): Platform | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const fields = value as Fields;
  const variant = textOf(fields, 'variant');
  return {
    os: textOf(fields, 'os') ?? '',
    architecture: textOf(fields, 'architecture') ?? '',
    ...(variant === undefined ? {} : { variant }),
  };
}

function annotationsOf(value: unknown, where: string): Record<string, string> {
  if (value === undefined || value === null) return {};
  const entries = Object.entries(objectOf(value, where));
  if (!entries.every((entry): entry is [string, string] => typeof entry[1] === 'string')) {
    throw invalid(`${where} holds something that is not text`);
  }
  return Object.fromEntries(entries);
}

function listOf(fields: Fields, key: string): unknown[] {
  const value = fields[key];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(`${key} is not a list`);
  return value;
}

function textOf(fields: Fields, key: string): string | undefined {
  const value = fields[key];
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw invalid(`${key} is not text`);
  return value;
}

function objectOf(value: unknown, where: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw invalid(`${where} is not an object`);
}

function invalid(message: string): Error {
  return ociError('MANIFEST_INVALID', message);
}
