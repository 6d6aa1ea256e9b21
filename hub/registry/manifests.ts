import { digestAlgorithm, digestOf, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { isForeignLayer, parseManifest, type ParsedManifest } from '../../proto/oci/manifest.ts';
import { parseTag, type Reference, type Repository, type Tag } from '../../proto/oci/name.ts';
import type { Catalog } from '../catalog/port.ts';
import { TAGS_PER_PUSH_MAX } from './constants.ts';
import { isUnchanged, send, type Exchange } from './http.ts';
import type { ManifestReader } from './manifest-reader.ts';
import type { RegistryMetrics } from './metrics.ts';

type Target = { repository: Repository; reference: Reference };
/** Content that manifests may name although it is not in the repository. */
export type SparseContent = { indexes: boolean; images: boolean };

/** A manifest that was stored, and the tags that were set with it. */
export type ManifestPush = {
  repository: Repository;
  digest: Digest;
  tags: readonly string[];
  subject?: Digest | undefined;
};

type Modules = {
  catalog: Catalog;
  /** Hears of each push before it is answered: a client that gets no answer pushes again. */
  pushed?: ((push: ManifestPush) => Promise<void>) | undefined;
  sparse: SparseContent;
  manifestReader: ManifestReader;
  metrics: RegistryMetrics;
};

/** GET and HEAD of a manifest, byte for byte as it was pushed. */
export async function getManifest(
  exchange: Exchange,
  { repository, reference }: Target,
  { catalog }: Pick<Modules, 'catalog'>,
): Promise<void> {
  const found = await catalog.manifest(
    repository,
    reference.kind === 'tag' ? { tag: reference.tag } : { digest: reference.digest },
  );
  if (!found) throw ociError('MANIFEST_UNKNOWN', `no such manifest in ${repository}`);
  const etag = `"${found.digest}"`;
  const headers = {
    'content-type': found.mediaType,
    'docker-content-digest': found.digest,
    etag,
  };
  if (isUnchanged(exchange.request, etag)) return send(exchange, 304, headers);
  send(exchange, 200, headers, found.bytes);
}

/**
 * PUT of a manifest (distribution-spec "Pushing manifests"): everything it names is here, except
 * foreign layers, the subject and what `sparse` allows; the digest of a reference by digest is that
 * of the bytes. Then `tag` parameters name tags to set, all of them or none.
 */
export async function putManifest(
  exchange: Exchange,
  { repository, reference }: Target,
  { catalog, manifestReader, metrics, sparse, pushed }: Modules,
): Promise<void> {
  const tags = reference.kind === 'tag' ? [reference.tag] : tagsOf(exchange.query);
  using body = await manifestReader.read(exchange);
  const { bytes } = body;
  const manifest = parseManifest(bytes, exchange.request.headers['content-type']);
  const algorithm = reference.kind === 'digest' ? digestAlgorithm(reference.digest) : 'sha256';
  const digest = digestOf(bytes, algorithm);
  if (reference.kind === 'digest' && reference.digest !== digest) {
    throw ociError('DIGEST_INVALID', `the manifest sent has digest ${digest}`);
  }
  const references = referencesOf(manifest, sparse);
  await checkPresent(repository, references, catalog);
  const artifactType = manifest.artifactType || manifest.config?.mediaType;
  const { annotations } = manifest;
  await catalog.putManifest({
    repository,
    digest,
    mediaType: manifest.mediaType,
    bytes,
    references,
    tags,
    ...(manifest.subject ? { subject: manifest.subject.digest } : {}),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  });
  await pushed?.({ repository, digest, tags, subject: manifest.subject?.digest });
  metrics.lastPush.set(Date.now() / 1000);
  send(exchange, 201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(manifest.subject ? { 'oci-subject': manifest.subject.digest } : {}),
    ...(reference.kind === 'digest' && tags.length > 0 ? { 'oci-tag': tags.join(', ') } : {}),
  });
}

/** @throws OciError TAG_INVALID; UNSUPPORTED (414) for more than TAGS_PER_PUSH_MAX */
function tagsOf(query: URLSearchParams): Tag[] {
  const tags = new Set(query.getAll('tag').map(parseTag));
  if (tags.size <= TAGS_PER_PUSH_MAX) return [...tags];
  const message = `one push sets at most ${TAGS_PER_PUSH_MAX} tags; send the rest in another`;
  throw ociError('UNSUPPORTED', message, { status: 414 });
}

/** DELETE of a tag, or of a manifest with all its tags. */
export async function deleteManifest(
  exchange: Exchange,
  { repository, reference }: Target,
  { catalog }: Pick<Modules, 'catalog'>,
): Promise<void> {
  const gone =
    reference.kind === 'tag'
      ? await catalog.deleteTag(repository, reference.tag)
      : await catalog.deleteManifest(repository, reference.digest);
  if (!gone) throw ociError('MANIFEST_UNKNOWN', `no such manifest in ${repository}`);
  send(exchange, 202, {});
}

type Part = { digest: Digest; kind: 'blob' | 'manifest'; required: boolean };

function referencesOf(manifest: ParsedManifest, sparse: SparseContent): Part[] {
  const config = manifest.config ? [manifest.config] : [];
  const parts = [
    ...config.map(({ digest }) => ({ digest, kind: 'blob' as const, required: true })),
    ...manifest.layers.map((layer) => ({
      digest: layer.digest,
      kind: 'blob' as const,
      required: !sparse.images && !isForeignLayer(layer),
    })),
    ...manifest.manifests.map(({ digest }) => ({
      digest,
      kind: 'manifest' as const,
      required: !sparse.indexes,
    })),
  ];
  return [...new Map(parts.map((part) => [`${part.kind} ${part.digest}`, part])).values()];
}

async function checkPresent(
  repository: Repository,
  parts: readonly Part[],
  catalog: Catalog,
): Promise<void> {
  for (const { digest, kind, required } of parts) {
    if (!required) continue;
    const found =
      kind === 'blob'
        ? await catalog.blobIn(repository, digest)
        : await catalog.manifest(repository, { digest });
    if (!found) throw unknownPart(digest);
  }
}

function unknownPart(digest: string): Error {
  return ociError('MANIFEST_BLOB_UNKNOWN', `the manifest names ${digest}, push it first`, {
    detail: { digest },
  });
}
