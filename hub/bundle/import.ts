import { digestAlgorithm, digestOf, type Digest } from '../../proto/oci/digest.ts';
import { MANIFEST_MAX_BYTES } from '../../proto/oci/manifest.ts';
import { isIndexMediaType } from '../../proto/oci/media-types.ts';
import { parseRepository, REPOSITORY_MAX_CHARS } from '../../proto/oci/name.ts';
import { AdminError } from '../../proto/ops/join-token-request.ts';
import { BLOBS_AT_ONCE } from '../backup/constants.ts';
import { Lanes } from '../backup/lanes.ts';
import { roundBytes, type Progress } from '../backup/progress.ts';
import { eachAtOnce } from '../../proto/std/each.ts';
import { checkBundle, type CheckedBundle } from './check.ts';
import { BundleError, damaged } from './errors.ts';
import { HubPusher } from './hub-pusher.ts';
import type { HubRegistry } from './hub-registry.ts';
import { blobPath } from './layout.ts';
import type { BundleBlob, BundleList } from './list.ts';
import { Outage, patiently } from './patience.ts';
import { RememberedUploads } from './remembered-uploads.ts';
import type { ExporterKey } from './signature.ts';
import { openSource, readFileOf, type BundleSource } from './source.ts';

export type ImportOptions = {
  /** Archive, or folder. */
  from: string;
  /** Goes before the names of repositories, with a slash; undefined: they stay as they are. */
  to: string | undefined;
  believed: readonly ExporterKey[];
  resumedMinBytes?: number;
};

type Modules = { registry: HubRegistry; progress: Progress };
type RunModules = Modules & { outage: Outage; source: BundleSource; uploads: RememberedUploads };

/** What was done. */
export type ImportReport = {
  bundle: CheckedBundle;
  /** Names that were set. */
  images: string[];
  /** Blobs that were sent, and bytes that went over the line. */
  sent: number;
  sentBytes: number;
  /** Blobs that the hub had. */
  kept: number;
};

/**
 * Checks a bundle, all of it, and then pushes it to a running hub: blobs, manifests, and tags at
 * the end. Interrupted at any moment, the same call goes on.
 * @throws BundleError, when nothing has been sent yet; AdminError; errors of node:fs
 */
export async function importBundle(
  options: ImportOptions,
  modules: Modules,
  { signal }: { signal: AbortSignal },
): Promise<ImportReport> {
  await using source = await openSource(options.from);
  const { progress, registry } = modules;
  const bundle = await checkBundle(source, options.believed, { progress, signal });
  const { list } = bundle;
  const names = new Names(options.to, list);
  const outage = new Outage({ say: (text) => progress.say(text) });
  const base = await placesOfBase(list, names, { registry, outage, signal });
  const of = { bundle: options.from, url: registry.url, id: list.id };
  const uploads = await RememberedUploads.open(of);
  const own = { source, uploads, outage, ...modules };
  const run = new Run({ list, names, base, signal, ...options }, own);
  await run.blobs();
  await run.manifests();
  const images = await run.tags();
  await uploads.clear();
  return { bundle, images, ...run.counts };
}

/** Names of repositories at the hub that imports. */
class Names {
  readonly #names = new Map<string, string>();

  /** @throws BundleError NAME_TOO_LONG */
  constructor(to: string | undefined, list: BundleList) {
    const all = [...list.manifests, ...list.blobs.flatMap((blob) => blob.in ?? [])];
    for (const { repository } of all) {
      const name = to === undefined ? repository : `${to}/${repository}`;
      if (name.length > REPOSITORY_MAX_CHARS) {
        const message = `${name} is longer than the ${REPOSITORY_MAX_CHARS} characters of a name`;
        throw new BundleError(message, { code: 'NAME_TOO_LONG', name });
      }
      this.#names.set(repository, parseRepository(name));
    }
  }

  of(repository: string): string {
    return this.#names.get(repository) ?? repository;
  }
}

/**
 * Where the hub has what the bundle leaves out: it has to be there before anything is sent.
 * @throws BundleError BASE_MISSING
 */
async function placesOfBase(
  { blobs, since }: BundleList,
  names: Names,
  { registry, outage, signal }: Pick<RunModules, 'registry' | 'outage'> & { signal: AbortSignal },
): Promise<ReadonlyMap<Digest, string>> {
  const found = new Map<Digest, string>();
  const lacking = new Map<string, Digest[]>();
  await using lanes = new Lanes(BLOBS_AT_ONCE);
  for (const { digest, repositories, in: from } of blobs) {
    if (from === undefined) continue;
    // oxlint-disable-next-line no-await-in-loop -- a few at a time
    await lanes.add(async () => {
      for (const place of new Set([from.repository, ...repositories].map((one) => names.of(one)))) {
        const has = () => registry.has(place, `blobs/${digest}`, { signal });
        // oxlint-disable-next-line no-await-in-loop -- the first that has it will do
        if (!(await patiently(has, { signal, outage }))) continue;
        found.set(digest, place);
        return;
      }
      const others = lacking.get(from.id) ?? [];
      lacking.set(from.id, others);
      others.push(digest);
    });
  }
  await lanes.end();
  if (lacking.size === 0) return found;
  const bundles = since.filter(({ id }) => lacking.has(id)).toReversed();
  const told = bundles.map(({ id, time }) => {
    const digests = lacking.get(id) ?? [];
    return `bundle ${id} of ${time} (${digests.length} blobs, such as ${digests[0]})`;
  });
  throw new BundleError(
    `this bundle builds on what is not at the hub; import before it, with the same --to: ` +
      told.join(', '),
    { code: 'BASE_MISSING', bundles: bundles.map(({ id }) => id) },
  );
}

class Run {
  readonly #wish: {
    list: BundleList;
    names: Names;
    base: ReadonlyMap<Digest, string>;
    signal: AbortSignal;
  };
  readonly #modules: RunModules;
  readonly #pusher: HubPusher;
  readonly counts = { sent: 0, sentBytes: 0, kept: 0 };

  constructor(
    wish: {
      list: BundleList;
      names: Names;
      /** Repositories of the hub that have what the bundle leaves out. */
      base: ReadonlyMap<Digest, string>;
      signal: AbortSignal;
      resumedMinBytes?: number;
    },
    modules: RunModules,
  ) {
    this.#wish = wish;
    this.#modules = modules;
    const { registry, uploads, outage } = modules;
    const onBytes = (count: number): void => void (this.counts.sentBytes += count);
    this.#pusher = new HubPusher(wish, { registry, uploads, onBytes, outage });
  }

  async blobs(): Promise<void> {
    const { list, signal } = this.#wish;
    await eachAtOnce(list.blobs, { atOnce: BLOBS_AT_ONCE, signal }, (blob, o) =>
      this.#blob(blob, o.signal),
    );
  }

  async manifests(): Promise<void> {
    const { list } = this.#wish;
    for (const { repository, digest } of list.manifests) {
      // oxlint-disable-next-line no-await-in-loop -- what a manifest names goes before it
      await this.#manifest(repository, digest, digest);
    }
  }

  async tags(): Promise<string[]> {
    const { list, names } = this.#wish;
    const named: string[] = [];
    for (const { repository, tag, digest } of list.images) {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      if (tag !== undefined) await this.#manifest(repository, digest, tag);
      const end = tag === undefined ? `@${digest}` : `:${tag}`;
      named.push(`${names.of(repository)}${end}`);
    }
    return named;
  }

  async #blob(
    { digest, size, repositories, in: from }: BundleBlob,
    signal: AbortSignal,
  ): Promise<void> {
    const { names, base, list } = this.#wish;
    const { registry, source, progress, outage } = this.#modules;
    let there = base.get(digest);
    for (const place of repositories.map((one) => names.of(one))) {
      signal.throwIfAborted();
      const blob = { repository: place, digest, size };
      const has = () => registry.has(place, `blobs/${digest}`, { signal });
      if (
        (await patiently(has, { signal, outage })) ||
        (await this.#pusher.mount(blob, there, { signal }))
      ) {
        this.counts.kept += 1;
      } else if (from === undefined) {
        const read = (start: number) => source.read(blobPath(digest), start);
        await this.#pusher.push(blob, read, { signal });
        this.counts.sent += 1;
      } else {
        const message = `${digest} was at the hub and is gone: import bundle ${from.id} again`;
        throw new BundleError(message, { code: 'BASE_MISSING', bundles: [from.id] });
      }
      there ??= place;
      const { sent, kept, sentBytes } = this.counts;
      progress.step(
        () => `blobs: ${sent + kept} of ${list.blobs.length}, ${roundBytes(sentBytes)} sent`,
      );
    }
  }

  async #manifest(repository: string, digest: Digest, reference: string): Promise<void> {
    const { list, names, signal } = this.#wish;
    const { source, registry, outage } = this.#modules;
    const place = names.of(repository);
    const isByDigest = reference === digest;
    const has = () => registry.has(place, `manifests/${digest}`, { signal });
    if (isByDigest && (await patiently(has, { signal, outage }))) return;
    const bytes = await readFileOf(source, blobPath(digest), MANIFEST_MAX_BYTES);
    // Under a tag nobody else compares it with what was signed.
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) {
      throw damaged(`${digest} has other bytes than it had a moment ago`);
    }
    const listed = list.manifests.find((one) => one.digest === digest);
    const mediaType = listed?.mediaType ?? '';
    try {
      await this.#pusher.putManifest(place, reference, { bytes, mediaType }, { signal });
    } catch (err) {
      throw withHint(err, { mediaType, isPart: list.request.platforms.length > 0 });
    }
  }
}

function withHint(err: unknown, { mediaType, isPart }: { mediaType: string; isPart: boolean }) {
  const isIndex = isIndexMediaType(mediaType);
  if (!isPart || !isIndex || !(err instanceof AdminError) || err.code !== 'HUB_REFUSED') return err;
  const hint = 'this bundle has chosen platforms only: set registry.sparseIndexes at this hub';
  return new AdminError(`${err.message}; ${hint}`, err.data, { cause: err });
}
