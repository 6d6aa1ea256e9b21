import type { Digest } from '../../proto/oci/digest.ts';
import { ociError } from '../../proto/oci/errors.ts';
import { parseManifest, type ParsedManifest } from '../../proto/oci/manifest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import { deadline } from '../../proto/std/abort.ts';
import { hasCode } from '../../proto/std/errors.ts';
import type { Catalog, NewManifest, NewTagCheck, StoredManifest } from '../catalog/port.ts';
import type { FetchTurns } from './fetch-turns.ts';
import { Flights } from './flights.ts';
import { FLIGHTS_MAX, MANIFEST_TIMEOUT_MS } from './pull-constants.ts';
import type { PullMetrics } from './pull-metrics.ts';
import type { UpstreamPlace } from './port.ts';

type Modules = {
  catalog: Pick<Catalog, 'manifest' | 'putManifest' | 'tagged'>;
  turns: FetchTurns;
  metrics: Pick<PullMetrics, 'fetched'>;
  /** Told of tags that name something else than before. */
  arrived?: ((tagged: TaggedManifest) => void) | undefined;
};

export type TaggedManifest = { repository: Repository; digest: Digest; tags: readonly string[] };

/** Manifests of upstreams, each fetched once and kept byte for byte in its repository. */
export class UpstreamManifests {
  readonly #modules: Modules;
  readonly #flights = new Flights<StoredManifest | undefined>({ max: FLIGHTS_MAX });

  constructor(modules: Modules) {
    this.#modules = modules;
  }

  /** What is kept; says nothing of the upstream. */
  kept(place: UpstreamPlace, digest: Digest): Promise<StoredManifest | undefined> {
    return this.#modules.catalog.manifest(place.repository, { digest });
  }

  /**
   * The manifest of this digest, once for all who ask at the same time, here and at other hubs.
   * undefined: the upstream does not have it. Rejects with errors of the upstream and the catalog.
   * `asks` is called when this very call begins to ask the upstream for it.
   */
  byDigest(
    place: UpstreamPlace,
    digest: Digest,
    asks: () => void = () => undefined,
  ): Promise<StoredManifest | undefined> {
    const { repository } = place;
    const look = () => this.kept(place, digest);
    return this.#flights.run(`${repository}@${digest}`, async () => {
      using limit = deadline(MANIFEST_TIMEOUT_MS);
      const { signal } = limit;
      const work = () => {
        asks();
        return this.#fetch(place, { kind: 'digest', digest }, signal);
      };
      return this.#modules.turns.run(`${repository}@${digest}`, { look, work, signal });
    });
  }

  /** The same by tag, for an upstream that tells no digest before; always fetched. */
  async byTag(
    place: UpstreamPlace,
    reference: Extract<Reference, { kind: 'tag' }>,
  ): Promise<StoredManifest | undefined> {
    using limit = deadline(MANIFEST_TIMEOUT_MS);
    return this.#fetch(place, reference, limit.signal);
  }

  /**
   * The tag named this manifest when the upstream was asked; it stays as it is when there is a
   * later answer. @throws CatalogError PURGED
   */
  async tag(
    place: UpstreamPlace,
    manifest: StoredManifest,
    { tag, checked }: { tag: string; checked: NewTagCheck },
  ): Promise<void> {
    const { catalog, arrived } = this.#modules;
    const { repository } = place;
    const { digest } = manifest;
    const before = await catalog.tagged(repository, tag);
    await this.#keep(place, manifest, { tags: [tag], checked });
    if (before !== digest) arrived?.({ repository, digest, tags: [tag] });
  }

  async #fetch(
    place: UpstreamPlace,
    reference: Reference,
    signal: AbortSignal,
  ): Promise<StoredManifest | undefined> {
    const { upstream, remote } = place;
    const ask = { signal, urgency: 'interactive' as const };
    const found = await upstream.getManifest(remote, reference, ask);
    this.#modules.metrics.fetched.inc({ upstream: upstream.host });
    return found && this.#keep(place, found, { tags: [] });
  }

  /** Nothing that it names has to be here: it comes when it is asked for. */
  async #keep(
    place: UpstreamPlace,
    { bytes, digest, mediaType }: StoredManifest,
    named: Pick<NewManifest, 'tags' | 'checked'>,
  ): Promise<StoredManifest> {
    const manifest = parsed(place, bytes, mediaType);
    const { annotations, subject } = manifest;
    const artifactType = manifest.artifactType || manifest.config?.mediaType;
    await this.#modules.catalog.putManifest({
      repository: place.repository,
      digest,
      mediaType: manifest.mediaType,
      bytes,
      references: referencesOf(manifest),
      ...named,
      ...(subject ? { subject: subject.digest } : {}),
      ...(artifactType === undefined ? {} : { artifactType }),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    });
    return { digest, mediaType: manifest.mediaType, bytes };
  }
}

/** @throws OciError MANIFEST_UNKNOWN for what runtimes have to get elsewhere; MANIFEST_INVALID */
function parsed({ upstream }: UpstreamPlace, bytes: Buffer, mediaType: string): ParsedManifest {
  try {
    return parseManifest(bytes, mediaType);
  } catch (err) {
    const { host } = upstream;
    if (hasCode(err, 'UNSUPPORTED')) {
      const message = `${host} has it in a form that this hub does not keep: ${mediaType}`;
      throw ociError('MANIFEST_UNKNOWN', message, { cause: err });
    }
    // A page that says something else, with a status that says it were the manifest.
    throw new Error(`${host} sent ${bytes.length} bytes that are no manifest`, { cause: err });
  }
}

function referencesOf({ config, layers, manifests }: ParsedManifest) {
  const blobs = [...(config ? [config] : []), ...layers].map(({ digest }) => digest);
  const children = manifests.map(({ digest }) => digest);
  return [
    ...[...new Set(blobs)].map((digest) => ({ digest, kind: 'blob' as const })),
    ...[...new Set(children)].map((digest) => ({ digest, kind: 'manifest' as const })),
  ];
}
