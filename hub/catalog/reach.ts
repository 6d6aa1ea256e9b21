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
  { cold }: { cold: boolean },
): Promise<{ manifestDigest: Digest; digests: Digest[] } | undefined> {
  const manifestDigest = await manifestFor(db, repository, { digest, cold });
  if (manifestDigest === undefined) return undefined;
  const seen = new Set<Digest>([manifestDigest]);
  const open: Digest[] = [manifestDigest];
  while (open.length > 0) {
    const batch = open.splice(0, STATEMENT_ROWS_MAX);
    // oxlint-disable-next-line no-await-in-loop -- each level names the next
    for (const found of await namedBy(db, repository, { manifests: batch, cold })) {
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
  { digest, cold }: { digest: Digest; cold: boolean },
): Promise<Digest | undefined> {
  const own = await db
    .selectFrom('manifest')
    .select('digest')
    .where('repository', '=', repository)
    .where('digest', '=', digest)
    .executeTakeFirst();
  if (own !== undefined) return own.digest;
  const naming = await blobsNamed(db, repository, cold)
    .select('reference.manifest_digest as digest')
    .where('reference.digest', '=', digest)
    .orderBy('reference.manifest_digest')
    .limit(1)
    .executeTakeFirst();
  return naming?.digest;
}

/**
 * What manifests name of blobs that the repository has, and `cold`: of those that no repository
 * has. Other content that it lacks gives no rights.
 */
function blobsNamed(db: Database, repository: string, cold: boolean) {
  const named = db
    .selectFrom('manifest_reference as reference')
    .leftJoin('repository_blob as own', (join) =>
      join
        .onRef('own.repository', '=', 'reference.repository')
        .onRef('own.digest', '=', 'reference.digest'),
    )
    .leftJoin('blob', 'blob.digest', 'reference.digest')
    .where('reference.repository', '=', repository)
    .where('reference.kind', '=', 'blob');
  if (!cold) return named.where('own.digest', 'is not', null);
  return named.where((is) =>
    is.or([is('own.digest', 'is not', null), is('blob.digest', 'is', null)]),
  );
}

/** What these manifests name and the repository has. */
async function namedBy(
  db: Database,
  repository: string,
  { manifests, cold }: { manifests: readonly Digest[]; cold: boolean },
) {
  const blobs = await blobsNamed(db, repository, cold)
    .select(['reference.digest', 'reference.kind'])
    .distinct()
    .where('reference.manifest_digest', 'in', manifests)
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
