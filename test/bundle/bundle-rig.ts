// Exports, checks and imports bundles of hubs on loopback.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { Progress } from '../../hub/backup/progress.ts';
import { ArchiveTarget } from '../../hub/bundle/archive-target.ts';
import { headOf } from '../../hub/bundle/check.ts';
import { exportBundle, type ExportOptions, type ExportReport } from '../../hub/bundle/export.ts';
import { FolderTarget } from '../../hub/bundle/folder-target.ts';
import { HubKey } from '../../hub/bundle/hub-key.ts';
import { HubRegistry } from '../../hub/bundle/hub-registry.ts';
import { importBundle, type ImportOptions, type ImportReport } from '../../hub/bundle/import.ts';
import { openSource } from '../../hub/bundle/source.ts';
import { ADMIN, type TestHub } from '../registry/test-hub.ts';

type Hub = Pick<TestHub, 'url'>;

export const { signal: never } = new AbortController();
export const progress = new Progress({ tell: () => {} });

/** An empty folder that goes with the test. */
export async function scratch(t: TestContext): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-bundle-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export function keyOf({ url }: Hub): HubKey {
  return new HubKey({ url, ...ADMIN });
}

type Exporting = Partial<Omit<ExportOptions, 'since'>> & {
  /** Where an earlier bundle lies. */
  since?: string;
  signal?: AbortSignal;
  registry?: HubRegistry;
};

/** Writes an archive, or a folder when the name has no dot. */
export async function exportTo(
  hub: Hub,
  to: string,
  images: readonly string[],
  { since, signal = never, registry, ...options }: Exporting = {},
): Promise<ExportReport> {
  const isArchive = path.basename(to).includes('.');
  await using target = await (isArchive ? ArchiveTarget : FolderTarget).open({ path: to });
  await using earlier = since === undefined ? undefined : await openSource(since);
  const wish = {
    images,
    platforms: [],
    host: 'hub.test',
    build: 'test',
    since: earlier && (await headOf(earlier)),
    ...options,
  };
  const target2 = { url: hub.url, ...ADMIN };
  const modules = {
    registry: registry ?? new HubRegistry(target2),
    key: new HubKey(target2),
    target,
    progress,
  };
  return await exportBundle(wish, modules, { signal });
}

type Importing = Partial<ImportOptions> & { signal?: AbortSignal; registry?: HubRegistry };

/** Imports a bundle; `exporter` is believed. */
export async function importTo(
  hub: Hub,
  from: string,
  exporter: Hub,
  { signal = never, registry, ...options }: Importing = {},
): Promise<ImportReport> {
  const believed = [await keyOf(exporter).exporter()];
  const wish = { from, to: undefined, believed, ...options };
  const modules = { registry: registry ?? new HubRegistry({ url: hub.url, ...ADMIN }), progress };
  return importBundle(wish, modules, { signal });
}
