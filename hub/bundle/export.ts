import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { digestOf } from '../../proto/oci/digest.ts';
import { BundleError } from './errors.ts';
import type { HubKey } from './hub-key.ts';
import type { HubRegistry } from './hub-registry.ts';
import { layoutFiles } from './layout-files.ts';
import {
  BUNDLE_FORMAT,
  entriesOf,
  formatList,
  parseList,
  type BundleEntry,
  type BundleList,
} from './list.ts';
import { Planner } from './plan.ts';
import { verifySignature, type ExporterKey } from './signature.ts';
import type { BundleTarget, Head, OpenContent } from './target.ts';
import { roundBytes, type Progress } from '../backup/progress.ts';

export type ExportOptions = {
  images: readonly string[];
  platforms: readonly string[];
  /** List and signature of the bundle that the importer has already. */
  since: Head | undefined;
  /** Host of the hub in image names. */
  host: string;
  build: string;
};

type Modules = {
  registry: HubRegistry;
  key: Pick<HubKey, 'exporter' | 'sign'>;
  target: BundleTarget;
  progress: Progress;
  now?: () => number;
};

/** What was written. */
export type ExportReport = {
  list: BundleList;
  /** Files of the bundle, and their bytes. */
  entries: number;
  bytes: number;
  /** Bytes that came from the hub now. */
  copiedBytes: number;
  /** Went on with one that was broken off. */
  resumed: boolean;
};

/**
 * Writes a signed bundle of images of a running hub. Interrupted at any moment, the same call goes
 * on with what is there, with the tags as they were at the first call.
 * @throws BundleError, AdminError; errors of node:fs
 */
export async function exportBundle(
  options: ExportOptions,
  modules: Modules,
  { signal }: { signal: AbortSignal },
): Promise<ExportReport> {
  const { key, target, progress } = modules;
  const exporter = await key.exporter();
  const earlier = earlierOf(options.since, exporter);
  const left = await target.left();
  const going = left && goingOn(left, { exporter, earlier, options });
  const list = going ?? (await begin({ exporter, earlier, options, signal }, modules));
  if (going) progress.say(`going on with what was begun; tags as of ${going.time}`);
  const entries = entriesOf(list);
  const bytes = entries.reduce((sum, entry) => sum + entry.size, 0);
  const open = opener(list, modules, signal);
  const done = { entries: 0, bytes: 0, copied: 0 };
  for (const entry of entries) {
    signal.throwIfAborted();
    // oxlint-disable-next-line no-await-in-loop -- an archive has one end
    await target.add(entry, open(entry), {
      signal,
      onBytes: (count) => void (done.copied += count),
    });
    done.entries += 1;
    done.bytes += entry.size;
    progress.step(
      () =>
        `${done.entries} of ${entries.length} files, ` +
        `${roundBytes(done.bytes)} of ${roundBytes(bytes)}`,
    );
  }
  await target.finish(entries);
  const resumed = going !== undefined;
  return { list, entries: entries.length, bytes, copiedBytes: done.copied, resumed };
}

type Earlier = { list: BundleList; ref: BundleList['since'][number] };

/** Nobody else's list may say what need not be carried. */
function earlierOf(since: Head | undefined, exporter: ExporterKey): Earlier | undefined {
  if (since === undefined) return undefined;
  verifySignature(since.list, since.signature, [exporter]);
  const list = parseList(since.list);
  return { list, ref: { id: list.id, time: list.time, digest: digestOf(since.list) } };
}

/** The list of what is there, when it is of this hub and was asked for in the same words. */
function goingOn(
  left: Head,
  {
    exporter,
    earlier,
    options,
  }: { exporter: ExporterKey; earlier: Earlier | undefined; options: ExportOptions },
): BundleList | undefined {
  try {
    verifySignature(left.list, left.signature, [exporter]);
    const list = parseList(left.list);
    const asked = JSON.stringify([options.images, options.platforms, earlier?.ref.id]);
    const { images, platforms } = list.request;
    return JSON.stringify([images, platforms, list.since[0]?.id]) === asked ? list : undefined;
  } catch (err) {
    if (err instanceof BundleError) return undefined;
    throw err;
  }
}

async function begin(
  wish: {
    exporter: ExporterKey;
    earlier: Earlier | undefined;
    options: ExportOptions;
    signal: AbortSignal;
  },
  { registry, key, target, progress, now = Date.now }: Modules,
): Promise<BundleList> {
  const { exporter, earlier, options, signal } = wish;
  const { images, platforms, host, build } = options;
  const time = new Date(now()).toISOString();
  const planner = new Planner(
    { images, platforms, earlier: earlier?.list },
    { registry, progress },
    { signal },
  );
  const { leftOut, ...plan } = await planner.run();
  if (leftOut > 0) {
    progress.say(`${leftOut} manifests that indexes name are not chosen, or not at the hub`);
  }
  const files = [...layoutFiles({ ...plan, host })].map(([path, bytes]) => ({
    path: path === 'index.json' ? ('index.json' as const) : ('oci-layout' as const),
    digest: digestOf(bytes),
    size: bytes.length,
  }));
  const list: BundleList = {
    kind: 'flotilla-bundle',
    format: BUNDLE_FORMAT,
    id: randomBytes(16).toString('hex'),
    time,
    build,
    fleetId: exporter.fleetId,
    host,
    request: { images: [...images], platforms: [...platforms] },
    since: earlier === undefined ? [] : [earlier.ref, ...earlier.list.since],
    files,
    ...plan,
  };
  const bytes = formatList(list);
  await target.begin({ list: bytes, signature: await key.sign(bytes) });
  return list;
}

/** Where the content of each entry comes from. */
function opener(
  list: BundleList,
  { registry }: Modules,
  signal: AbortSignal,
): (entry: BundleEntry) => OpenContent {
  const own = layoutFiles(list);
  const manifests = new Map(list.manifests.map((one) => [one.digest, one.repository]));
  const blobs = new Map(list.blobs.map((one) => [one.digest, one.repositories[0] ?? '']));
  return ({ path, digest, size }) => {
    const file = own.get(path);
    if (file !== undefined) return async (start) => Readable.from([file.subarray(start)]);
    const manifestIn = manifests.get(digest);
    return async (start) => {
      if (manifestIn !== undefined) {
        const found = await registry.manifest(manifestIn, digest, { signal });
        return Readable.from(found === undefined ? [] : [found.bytes.subarray(start)]);
      }
      const repository = blobs.get(digest) ?? '';
      const body = await registry.blob(repository, digest, { start, size, signal });
      return body ?? Readable.from([]);
    };
  };
}
