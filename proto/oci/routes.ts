import { PATH_MAX_CHARS } from './constants.ts';
import { parseDigest, type Digest } from './digest.ts';
import { ociError } from './errors.ts';
import { parseReference, parseRepository, type Reference, type Repository } from './name.ts';

/** A request to the registry API, parsed once into a value that cannot be wrong. */
export type RegistryRoute =
  | { kind: 'base' }
  | { kind: 'catalog' }
  | { kind: 'tags'; repository: Repository }
  | { kind: 'manifest'; repository: Repository; reference: Reference }
  | { kind: 'blob'; repository: Repository; digest: Digest }
  | { kind: 'upload-start'; repository: Repository }
  | { kind: 'upload'; repository: Repository; session: string }
  | { kind: 'referrers'; repository: Repository; digest: Digest }
  | { kind: 'chunk-statement'; repository: Repository; digest: Digest }
  | { kind: 'chunk-hashes'; repository: Repository; digest: Digest }
  | { kind: 'chunk-provisional'; repository: Repository; digest: Digest }
  | { kind: 'chunk-ahead'; repository: Repository; digest: Digest };

const CHUNK_PATHS = ['statement', 'hashes', 'provisional', 'ahead'] as const;
const SESSION = /^[A-Za-z0-9_-]{1,128}$/;

/**
 * Reads the path of a request as it came: without the query, not percent-decoded. Names never need
 * encoding, so a percent sign is refused rather than decoded.
 *
 * @throws OciError NAME_INVALID, DIGEST_INVALID, TAG_INVALID, BLOB_UPLOAD_UNKNOWN; UNSUPPORTED
 * (404) for a path outside the API
 */
export function parseRegistryRoute(rawPath: string): RegistryRoute {
  if (rawPath === '/v2' || rawPath === '/v2/') return { kind: 'base' };
  if (!rawPath.startsWith('/v2/')) throw unknownPath();
  if (rawPath.length > PATH_MAX_CHARS) {
    throw ociError('NAME_INVALID', `a path has at most ${PATH_MAX_CHARS} characters`);
  }
  if (rawPath.includes('%')) throw ociError('NAME_INVALID', 'a name needs no percent-encoding');
  if (rawPath === '/v2/_catalog') return { kind: 'catalog' };
  const parts = rawPath.slice('/v2/'.length).split('/');
  const last = parts.at(-1) ?? '';
  const before = parts.at(-2);
  const name = (drop: number): Repository => parseRepository(parts.slice(0, -drop).join('/'));
  if (parts.length >= 5 && parts.at(-4) === '_flotilla' && parts.at(-3) === 'chunks') {
    const asked = CHUNK_PATHS.find((one) => one === before);
    if (asked !== undefined) {
      return { kind: `chunk-${asked}`, repository: name(4), digest: parseDigest(last) };
    }
  }
  if (parts.length >= 3 && before === 'tags' && last === 'list') {
    return { kind: 'tags', repository: name(2) };
  }
  if (parts.length >= 4 && parts.at(-3) === 'blobs' && before === 'uploads') {
    if (last === '') return { kind: 'upload-start', repository: name(3) };
    if (!SESSION.test(last)) throw ociError('BLOB_UPLOAD_UNKNOWN', 'no such upload session');
    return { kind: 'upload', repository: name(3), session: last };
  }
  if (parts.length >= 3 && before === 'blobs') {
    if (last === 'uploads') return { kind: 'upload-start', repository: name(2) };
    return { kind: 'blob', repository: name(2), digest: parseDigest(last) };
  }
  if (parts.length >= 3 && before === 'manifests') {
    return { kind: 'manifest', repository: name(2), reference: parseReference(last) };
  }
  if (parts.length >= 3 && before === 'referrers') {
    return { kind: 'referrers', repository: name(2), digest: parseDigest(last) };
  }
  throw unknownPath();
}

function unknownPath(): Error {
  return ociError('UNSUPPORTED', 'no such path in the registry API', { status: 404 });
}
