/** Characters of a host with its port in an image name. */
export const HOST_MAX_CHARS = 261;
/** Characters of the path of a registry request; the longest name and digest fit twice. */
export const PATH_MAX_CHARS = 1_024;
/** Characters of a media type (RFC 6838 section 4.2: two names of 127 and a slash). */
export const MEDIA_TYPE_MAX_CHARS = 255;
/** JSON values in one manifest: room for the most descriptors with all their members. */
export const MANIFEST_VALUES_MAX = 200_000;
