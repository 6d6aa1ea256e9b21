import { readFile, stat } from 'node:fs/promises';
import { Progress, roundBytes } from '../hub/backup/progress.ts';
import { ArchiveTarget } from '../hub/bundle/archive-target.ts';
import { checkBundle, headOf } from '../hub/bundle/check.ts';
import { TRUSTED_KEY_MAX_BYTES } from '../hub/bundle/constants.ts';
import { BundleError } from '../hub/bundle/errors.ts';
import { exportBundle, type ExportReport } from '../hub/bundle/export.ts';
import { FolderTarget, isFolderName } from '../hub/bundle/folder-target.ts';
import { HubKey } from '../hub/bundle/hub-key.ts';
import { HubRegistry } from '../hub/bundle/hub-registry.ts';
import { importBundle, type ImportReport } from '../hub/bundle/import.ts';
import { formatKeyFile, parseKeyFile, type ExporterKey } from '../hub/bundle/signature.ts';
import { openSource } from '../hub/bundle/source.ts';
import type { Head } from '../hub/bundle/target.ts';
import { HubOptions, type HubConfig } from '../hub/options.ts';
import { parseRepository } from '../proto/oci/name.ts';
import { readBuildInfo } from '../proto/ops/build-info.ts';
import type {
  BundleExportWish,
  BundleImportWish,
  BundleKeyWish,
  BundleVerifyWish,
} from '../proto/ops/bundle-cli.ts';
import { loadConfig } from '../proto/ops/config.ts';
import { hasCode, messageOf } from '../proto/std/errors.ts';
import { withTarget } from './admin.ts';

type Surroundings = {
  env: Record<string, string | undefined>;
  /** Progress, a line at a time. */
  tell: (text: string) => void;
};

/**
 * Writes a bundle of images of the running hub of this configuration, as its administrator.
 * @throws ConfigError; AdminError; BundleError; errors of node:fs
 */
export async function exportImages(
  { out, since, platforms, images, url, ...input }: BundleExportWish,
  { env, tell }: Surroundings,
): Promise<string> {
  const config = loadConfig(HubOptions, { ...input, env, kind: 'hub' });
  const earlier = since === undefined ? undefined : await earlierAt(since);
  const isFolder = await isFolderName(out);
  const report = await withTarget(config, url, async (hub) => {
    await using target = await (isFolder ? FolderTarget : ArchiveTarget).open({ path: out });
    const host = config.hub.names[0] ?? new URL(hub.url).host;
    const build = readBuildInfo().version;
    const wish = { images, platforms, since: earlier, host, build };
    const own = { registry: new HubRegistry(hub), key: new HubKey(hub) };
    return await exportBundle(
      wish,
      { ...own, target, progress: new Progress({ tell }) },
      { signal: stopped() },
    );
  });
  return formatExport(out, report);
}

/**
 * Pushes a bundle to the running hub of this configuration, as its administrator.
 * @throws ConfigError; AdminError; BundleError; errors of node:fs
 */
export async function importImages(
  { from, to, trust, url, ...input }: BundleImportWish,
  { env, tell }: Surroundings,
): Promise<string> {
  const config = loadConfig(HubOptions, { ...input, env, kind: 'hub' });
  const believed = await believedBy(config, trust);
  const wish = { from, to: to === undefined ? undefined : parseRepository(to), believed };
  const report = await withTarget(config, url, (hub) => {
    const modules = { registry: new HubRegistry(hub), progress: new Progress({ tell }) };
    return importBundle(wish, modules, { signal: stopped() });
  });
  return formatImport(report);
}

/** Reads a bundle and tells what is in it. @throws ConfigError; BundleError; errors of node:fs */
export async function verifyImages(
  { from, trust, ...input }: BundleVerifyWish,
  { env, tell }: Surroundings,
): Promise<string> {
  const config = loadConfig(HubOptions, { ...input, env, kind: 'hub' });
  const believed = await believedBy(config, trust);
  await using source = await openSource(from);
  const progress = new Progress({ tell });
  const checked = await checkBundle(source, believed, { progress, signal: stopped() });
  const { list, signer, bytes } = checked;
  const names = list.images.map(({ repository, tag, digest }) => {
    return `${repository}${tag === undefined ? '' : `:${tag}`}@${digest}\n`;
  });
  const needs = list.since.map(({ id, time }) => `builds on bundle ${id} of ${time}\n`);
  const by = `signed by ${signer.fleetId}, ${signer.fingerprint}`;
  const all = `bundle ${list.id} of ${list.time}: whole, ${roundBytes(bytes)}, ${by}\n`;
  return [...names, ...needs, all].join('');
}

/** The key file of the running hub of this configuration. @throws ConfigError; AdminError */
export async function tellKey(
  { change, url, ...input }: BundleKeyWish,
  { env }: Pick<Surroundings, 'env'>,
): Promise<string> {
  const config = loadConfig(HubOptions, { ...input, env, kind: 'hub' });
  const key = await withTarget(config, url, (hub) => {
    const own = new HubKey(hub);
    return change === undefined ? own.show() : own.replace({ revoke: change === 'revoke' });
  });
  return formatKeyFile(key);
}

async function earlierAt(place: string): Promise<Head> {
  await using source = await openSource(place);
  return await headOf(source);
}

/** @throws BundleError KEY_FILE_INVALID */
async function believedBy(
  { bundles }: Pick<HubConfig, 'bundles'>,
  given: readonly string[],
): Promise<ExporterKey[]> {
  const files = [
    ...bundles.trustedKeys.map((file, i) => ({ file, option: `bundles.trustedKeys[${i}]` })),
    ...given.map((file) => ({ file, option: '--trust' })),
  ];
  return Promise.all(
    files.map(async ({ file, option }) => {
      const text = await keyTextOf(file).catch((cause: unknown) => {
        const message =
          `the key of an exporter cannot be read, ${file} of ${option}: ${whyUnread(cause)}; ` +
          'name the file that "flotilla bundle key" wrote at the exporter';
        throw new BundleError(message, { code: 'KEY_FILE_INVALID', file });
      });
      if (text !== undefined) return parseKeyFile(text, file);
      const message = `${file} is too large for the key of an exporter`;
      throw new BundleError(message, { code: 'KEY_FILE_INVALID', file });
    }),
  );
}

/** undefined: it is too large. */
async function keyTextOf(file: string): Promise<string | undefined> {
  const { size } = await stat(file);
  return size <= TRUSTED_KEY_MAX_BYTES ? await readFile(file, 'utf8') : undefined;
}

function whyUnread(cause: unknown): string {
  if (hasCode(cause, 'ENOENT')) return 'there is no such file';
  if (hasCode(cause, 'EISDIR')) return 'it is a folder';
  return hasCode(cause, 'EACCES') ? 'it may not be read' : messageOf(cause);
}

function stopped(): AbortSignal {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort());
  return stop.signal;
}

function formatExport(out: string, { list, entries, bytes, copiedBytes }: ExportReport): string {
  const lines = list.images.map(({ repository, tag, digest }) => {
    return `${repository}${tag === undefined ? '' : `:${tag}`}@${digest}`;
  });
  const omitted = list.blobs.filter((blob) => blob.in !== undefined).length;
  if (omitted > 0) lines.push(`left out: ${omitted} blobs of ${list.since.length} earlier bundles`);
  const sizes = `${roundBytes(bytes)}, of which ${roundBytes(copiedBytes)} were copied now`;
  lines.push(`${out}: bundle ${list.id} of ${list.time}, ${entries} files, ${sizes}`);
  return `${lines.join('\n')}\n`;
}

function formatImport({ bundle, images, sent, sentBytes, kept }: ImportReport): string {
  const { list, signer } = bundle;
  const lines = [
    ...images,
    `bundle ${list.id} of ${list.time}, signed by ${signer.fleetId}: ` +
      `${sent} blobs sent, ${roundBytes(sentBytes)}; ${kept} were there`,
  ];
  return `${lines.join('\n')}\n`;
}
