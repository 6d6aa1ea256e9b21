import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestOf, type Digest } from '../../proto/oci/digest.ts';
import { OCI_INDEX } from '../../proto/oci/media-types.ts';
import { openSqliteCatalog } from './sqlite-catalog.ts';

const DEPTH = 40;

test('indexes that lead to one end in a million million ways are walked once each', async (t) => {
  const catalog = await openSqliteCatalog({ path: ':memory:' });
  t.after(() => catalog.close());
  let level: Digest[] = [];
  for (let depth = 0; depth < DEPTH; depth += 1) {
    const references = level.map((digest) => ({ digest, kind: 'manifest' as const }));
    level = ['left', 'right'].map((side) => digestOf(Buffer.from(`${side} ${depth}`)));
    for (const digest of level) {
      const bytes = Buffer.from(digest);
      const own = { repository: 'team/app', digest, mediaType: OCI_INDEX, bytes, tags: [] };
      // oxlint-disable-next-line no-await-in-loop -- children first
      await catalog.putManifest({ ...own, references });
    }
  }
  const [top] = level;
  assert.ok(top);
  const reach = await catalog.reachable('team/app', top);
  assert.equal(reach?.digests.length, 2 * (DEPTH - 1));
});
