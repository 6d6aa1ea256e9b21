// What every catalog must do for the list of referrers, whatever database it is in.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { manifest as manifestOf, REPOSITORY, type CatalogRig } from './catalog-fixture.ts';
import { up as registry } from './migrations/0001-registry.ts';
import { up as fleet } from './migrations/0002-fleet.ts';
import type { Catalog, NewManifest, Referrer } from './port.ts';

const SUBJECT = digestOf(Buffer.from('image'));
const ALL = { n: 1000, bytes: 1_000_000 };

type Check = (promise: string, work: (rig: CatalogRig) => Promise<void>) => void;

/** Tests of the list of referrers in one kind of database. */
export function referrersConformance(
  where: string,
  rig: (t: TestContext) => Promise<CatalogRig>,
  options: { skip?: string | false } = {},
): void {
  const check: Check = (promise, work) => {
    test(`${where}: ${promise}`, { skip: options.skip ?? false }, async (t) => work(await rig(t)));
  };
  listChecks(check);
  pageChecks(check);
  upgradeChecks(check);
}

function referrer(text: string, more: Partial<NewManifest> = {}): NewManifest {
  return manifestOf(text, { subject: SUBJECT, ...more });
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

function listChecks(check: Check): void {
  check(
    'referrers are those of the repository, as they were pushed, until deleted',
    async ({ open }) => {
      const catalog = await open();
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
    },
  );
}

function pageChecks(check: Check): void {
  check('pages hold what they may, and together every referrer once', async ({ open }) => {
    const catalog = await open();
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
      assert.ok(
        page.length === 1 || (page.length > 1 && bytes <= 2000),
        `${page.length}: ${bytes}`,
      );
    }
    assert.ok(bySize.length < all.length, 'what fits into a page is in one');
    const typed = await pageThrough({ ...ALL, n: 2, artifactType: 'text/sbom' });
    assert.deepEqual(
      typed.flat(),
      wanted.filter(({ artifactType }) => artifactType === 'text/sbom'),
    );
    const strange = await catalog.referrers(REPOSITORY, SUBJECT, { ...ALL, artifactType: '\0' });
    assert.deepEqual(strange.referrers, []);
    const none = await catalog.referrers(REPOSITORY, SUBJECT, { ...ALL, n: 0 });
    assert.deepEqual(none.referrers, []);
  });
}

function upgradeChecks(check: Check): void {
  check(
    'a catalog from before the list of referrers has them all in it',
    async ({ connect, open }) => {
      const annotations = { by: 'someone' };
      const config = { mediaType: 'text/config' };
      const old = Array.from({ length: 40 }, (_, i) => {
        const typed = i % 2 === 0 ? { artifactType: `text/${i}` } : {};
        const bytes = Buffer.from(JSON.stringify({ i, ...typed, config, annotations }));
        const manifest = { digest: digestOf(bytes), bytes, media_type: OCI_MANIFEST };
        const artifact_type = typed.artifactType ?? (i % 4 === 1 ? null : config.mediaType);
        return { repository: `team/${i % 3}`, subject: SUBJECT, artifact_type, ...manifest };
      });
      const db = connect().withTables<{ schema_version: { version: number } }>();
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
      const catalog = await open();
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
    },
  );
}
