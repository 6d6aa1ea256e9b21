import { digestAlgorithm, digestOf, type Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { isForeignLayer, parseManifest, type ParsedManifest } from '../../proto/oci/manifest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import type { Catalog } from '../catalog/port.ts';
import { isUnchanged, send, type Exchange } from './http.ts';
import type { ManifestReader } from './manifest-reader.ts';
import type { RegistryMetrics } from './metrics.ts';

type Target = { repository: Repository; reference: Reference };
type Modules = {
  catalog: Catalog;
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
 * foreign layers and the subject; the digest of a reference by digest is that of the bytes.
 */
export async function putManifest(
  exchange: Exchange,
  { repository, reference }: Target,
  { catalog, manifestReader, metrics }: Modules,
): Promise<void> {
  using body = await manifestReader.read(exchange);
  const { bytes } = body;
  const manifest = parseManifest(bytes, exchange.request.headers['content-type']);
  const algorithm = reference.kind === 'digest' ? digestAlgorithm(reference.digest) : 'sha256';
  const digest = digestOf(bytes, algorithm);
  if (reference.kind === 'digest' && reference.digest !== digest) {
    throw ociError('DIGEST_INVALID', `the manifest sent has digest ${digest}`);
  }
  const references = referencesOf(manifest);
  await checkPresent(repository, references, catalog);
  const artifactType = manifest.artifactType || manifest.config?.mediaType;
  const { annotations } = manifest;
  await catalog.putManifest({
    repository,
    digest,
    mediaType: manifest.mediaType,
    bytes,
    references: references.map(({ digest: to, kind }) => ({ digest: to, kind })),
    tags: reference.kind === 'tag' ? [reference.tag] : [],
    ...(manifest.subject ? { subject: manifest.subject.digest } : {}),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  });
  metrics.lastPush.set(Date.now() / 1000);
  send(exchange, 201, {
    location: `/v2/${repository}/manifests/${digest}`,
    'docker-content-digest': digest,
    ...(manifest.subject ? { 'oci-subject': manifest.subject.digest } : {}),
  });
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

function referencesOf(manifest: ParsedManifest): Part[] {
  const config = manifest.config ? [manifest.config] : [];
  const parts = [
    ...config.map(({ digest }) => ({ digest, kind: 'blob' as const, required: true })),
    ...manifest.layers.map((layer) => ({
      digest: layer.digest,
      kind: 'blob' as const,
      required: !isForeignLayer(layer),
    })),
    ...manifest.manifests.map(({ digest }) => ({
      digest,
      kind: 'manifest' as const,
      required: true,
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
    if (!found) {
      throw ociError('MANIFEST_BLOB_UNKNOWN', `the manifest names ${digest}, push it first`, {
        detail: { digest },
      });
    }
  }
}
