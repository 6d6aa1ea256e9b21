import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Kysely } from 'kysely';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { up as registry } from './migrations/0001-registry.ts';
import { up as fleet } from './migrations/0002-fleet.ts';
import type { Catalog, NewManifest, Referrer } from './port.ts';
import type { RegistryTables } from './schema.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';
import { sqliteDialect } from './sqlite-dialect.ts';

const REPOSITORY = 'team/app';
const SUBJECT = digestOf(Buffer.from('image'));
const ALL = { n: 1000, bytes: 1_000_000 };

async function filePath(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'flotilla-referrers-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'catalog.sqlite');
}

async function open(t: TestContext, path?: string) {
  const catalog = await openSqliteCatalog({ path: path ?? (await filePath(t)) });
  t.after(() => catalog.close());
  return catalog;
}

function referrer(text: string, more: Partial<NewManifest> = {}): NewManifest {
  const bytes = Buffer.from(text);
  const head = { repository: REPOSITORY, mediaType: OCI_MANIFEST, subject: SUBJECT };
  return { ...head, digest: digestOf(bytes), bytes, references: [], tags: [], ...more };
}

function listed({ mediaType, digest, bytes, artifactType, annotations }: NewManifest): Referrer {
  return {
    mediaType,
    digest,
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function byDigest(a: { digest: Digest }, b: { digest: Digest }): number {
  return a.digest < b.digest ? -1 : 1;
}

async function put(catalog: Catalog, manifests: readonly NewManifest[]): Promise<void> {
  for (const manifest of manifests) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await catalog.putManifest(manifest);
  }
}

test('referrers are those of the repository, as they were pushed, until deleted', async (t) => {
  const catalog = await open(t);
  const sbom = referrer('sbom', {
    artifactType: 'text/sbom',
    annotations: { by: 'ü"\\', __proto: '' },
  });
  const plain = referrer('plain', { mediaType: OCI_INDEX });
  await put(catalog, [sbom, plain, sbom, referrer('foreign', { repository: 'other' })]);
  const found = await catalog.referrers(REPOSITORY, SUBJECT, ALL);
  const wanted = [sbom, plain].map(listed).toSorted(byDigest);
  assert.deepEqual(found, { referrers: wanted, more: false });
  await catalog.deleteManifest(REPOSITORY, sbom.digest);
  const left = await catalog.referrers(REPOSITORY, SUBJECT, ALL);
  assert.deepEqual(left.referrers, [listed(plain)]);
  const none = await catalog.referrers(REPOSITORY, digestOf(Buffer.from('none')), ALL);
  assert.deepEqual(none, { referrers: [], more: false });
});

test('pages hold what they may, and together every referrer once', async (t) => {
  const catalog = await open(t);
  const all = Array.from({ length: 9 }, (_, i) =>
    referrer(`referrer ${i}`, {
      artifactType: i % 3 === 0 ? 'text/sbom' : 'text/other',
      annotations: { weight: 'x'.repeat(i === 4 ? 5000 : 400) },
    }),
  );
  await put(catalog, all);
  const pageThrough = async (wish: { n: number; bytes: number; artifactType?: string }) => {
    const pages: Referrer[][] = [];
    for (let last: Digest | undefined; ;) {
      // oxlint-disable-next-line no-await-in-loop -- page after page
      const { referrers, more } = await catalog.referrers(REPOSITORY, SUBJECT, {
        ...wish,
        ...(last === undefined ? {} : { last }),
      });
      pages.push(referrers);
      last = referrers.at(-1)?.digest;
      if (!more) return pages;
    }
  };
  const wanted = all.map(listed).toSorted(byDigest);
  const byNumber = await pageThrough({ ...ALL, n: 4 });
  assert.deepEqual(
    byNumber.map((page) => page.length),
    [4, 4, 1],
  );
  assert.deepEqual(byNumber.flat(), wanted);
  const bySize = await pageThrough({ ...ALL, bytes: 2000 });
  assert.deepEqual(bySize.flat(), wanted);
  for (const page of bySize) {
    const bytes = page.reduce((sum, one) => sum + JSON.stringify(one).length, 0);
    assert.ok(page.length === 1 || (page.length > 1 && bytes <= 2000), `${page.length}: ${bytes}`);
  }
  assert.ok(bySize.length < all.length, 'what fits into a page is in one');
  const typed = await pageThrough({ ...ALL, n: 2, artifactType: 'text/sbom' });
  assert.deepEqual(
    typed.flat(),
    wanted.filter(({ artifactType }) => artifactType === 'text/sbom'),
  );
  const none = await catalog.referrers(REPOSITORY, SUBJECT, { ...ALL, n: 0 });
  assert.deepEqual(none.referrers, []);
});

test('a catalog from before the list of referrers has them all in it', async (t) => {
  const path = await filePath(t);
  const annotations = { by: 'someone' };
  const config = { mediaType: 'text/config' };
  const old = Array.from({ length: 40 }, (_, i) => {
    const typed = i % 2 === 0 ? { artifactType: `text/${i}` } : {};
    const bytes = Buffer.from(JSON.stringify({ i, ...typed, config, annotations }));
    const manifest = { digest: digestOf(bytes), bytes, media_type: OCI_MANIFEST };
    const artifact_type = typed.artifactType ?? (i % 4 === 1 ? null : config.mediaType);
    return { repository: `team/${i % 3}`, subject: SUBJECT, artifact_type, ...manifest };
  });
  const db = new Kysely<RegistryTables & { schema_version: { version: number } }>({
    dialect: sqliteDialect({ path }),
  });
  await registry(db);
  await fleet(db);
  await db.schema.createTable('schema_version').addColumn('version', 'integer').execute();
  await db
    .insertInto('schema_version')
    .values([{ version: 1 }, { version: 2 }])
    .execute();
  const names = [0, 1, 2].map((i) => ({ name: `team/${i}` }));
  await db.insertInto('repository').values(names).execute();
  await db.insertInto('manifest').values(old).execute();
  await db.destroy();
  const catalog = await open(t, path);
  for (const { name } of names) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { referrers } = await catalog.referrers(name, SUBJECT, ALL);
    const wanted = old.filter(({ repository }) => repository === name);
    assert.deepEqual(
      referrers,
      wanted
        .map(({ digest, bytes, artifact_type: type }) => {
          const artifactType = type ?? config.mediaType;
          const head = { mediaType: OCI_MANIFEST, digest, size: bytes.length };
          return { ...head, artifactType, annotations };
        })
        .toSorted(byDigest),
    );
  }
});
