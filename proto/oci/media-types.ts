import { MEDIA_TYPE_MAX_CHARS } from './constants.ts';

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
export const OCI_ARTIFACT = 'application/vnd.oci.artifact.manifest.v1+json';
export const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
export const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** Every manifest type the registry stores, in the order a client asks for them. */
export const MANIFEST_ACCEPT: readonly string[] = [
  OCI_INDEX,
  OCI_MANIFEST,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  OCI_ARTIFACT,
];

const NAME = '[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*';
const MEDIA_TYPE = new RegExp(`^${NAME}/${NAME}(?: ?;[ -~]*)?$`);

export function isManifestMediaType(type: string): boolean {
  return MANIFEST_ACCEPT.includes(type);
}

/** Whether a manifest of this type names other manifests. */
export function isIndexMediaType(type: string): boolean {
  return type === OCI_INDEX || type === DOCKER_LIST;
}

/** True for `type/subtype` (RFC 6838 section 4.2), with parameters or without. */
export function isMediaType(text: string): boolean {
  return text.length <= MEDIA_TYPE_MAX_CHARS && MEDIA_TYPE.test(text);
}

/** `type/subtype` without parameters, lower case. */
export function stripParameters(contentType: string): string {
  return (contentType.split(';', 1)[0] ?? '').trim().toLowerCase();
}
