import type { Kysely } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import { REACH_MAX, STATEMENT_ROWS_MAX } from './constants.ts';
import type { RegistryTables } from './schema.ts';

type Database = Kysely<RegistryTables>;

/** What of the repository a manifest reaches; see Catalog.reachable. */
export async function reachable(
  db: Database,
  repository: string,
  digest: Digest,
): Promise<{ manifestDigest: Digest; digests: Digest[] } | undefined> {
  const manifestDigest = await manifestFor(db, repository, digest);
  if (manifestDigest === undefined) return undefined;
  const seen = new Set<Digest>([manifestDigest]);
  const open: Digest[] = [manifestDigest];
  while (open.length > 0) {
    const batch = open.splice(0, STATEMENT_ROWS_MAX);
    // oxlint-disable-next-line no-await-in-loop -- each level names the next
    for (const found of await namedBy(db, repository, batch)) {
      if (seen.has(found.digest)) continue;
      seen.add(found.digest);
      if (found.kind === 'manifest') open.push(found.digest);
      if (seen.size > REACH_MAX + 1) return undefined;
    }
  }
  seen.delete(manifestDigest);
  return { manifestDigest, digests: [...seen] };
}

async function manifestFor(
  db: Database,
  repository: string,
  digest: Digest,
): Promise<Digest | undefined> {
  const own = await db
    .selectFrom('manifest')
    .select('digest')
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .executeTakeFirst();
  if (own !== undefined) return own.digest;
  const naming = await db
    .selectFrom('manifest_reference as reference')
    .innerJoin('repository_blob as blob', (join) =>
      join
        .onRef('blob.repository', '=', 'reference.repository')
        .onRef('blob.digest', '=', 'reference.digest'),
    )
    .select('reference.manifest_digest as digest')
    .where('reference.repository', '=', repository)
    .where('reference.digest', '=', digest)
    .where('reference.kind', '=', 'blob')
    .orderBy('reference.manifest_digest')
    .limit(1)
    .executeTakeFirst();
  return naming?.digest;
}

/** What these manifests name and the repository has. Content it lacks gives no rights. */
async function namedBy(db: Database, repository: string, manifests: readonly Digest[]) {
  const blobs = await db
    .selectFrom('manifest_reference as reference')
    .innerJoin('repository_blob as blob', (join) =>
      join
        .onRef('blob.repository', '=', 'reference.repository')
        .onRef('blob.digest', '=', 'reference.digest'),
    )
    .select(['reference.digest', 'reference.kind'])
    .distinct()
    .where('reference.repository', '=', repository)
    .where('reference.manifest_digest', 'in', manifests)
    .where('reference.kind', '=', 'blob')
    .limit(REACH_MAX + 2)
    .execute();
  const children = await db
    .selectFrom('manifest_reference as reference')
    .innerJoin('manifest as child', (join) =>
      join
        .onRef('child.repository', '=', 'reference.repository')
        .onRef('child.digest', '=', 'reference.digest'),
    )
    .select(['reference.digest', 'reference.kind'])
    .distinct()
    .where('reference.repository', '=', repository)
    .where('reference.manifest_digest', 'in', manifests)
    .where('reference.kind', '=', 'manifest')
    .limit(REACH_MAX + 2)
    .execute();
  return [...blobs, ...children];
}
