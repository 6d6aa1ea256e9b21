import type { Kysely, Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import type { NewManifest, Referrer, ReferrersPage } from './port.ts';
import type { RegistryTables } from './schema.ts';

/** See Catalog.referrers. Reads the rows of the page and one more, whatever else there is. */
export async function referrersOf(
  db: Kysely<RegistryTables>,
  repository: string,
  subject: Digest,
  page: ReferrersPage,
): Promise<{ referrers: Referrer[]; more: boolean }> {
  const { artifactType, last } = page;
  const ofSubject = db
    .selectFrom('referrer')
    .where('repository', '=', repository)
    .where('subject', '=', subject);
  const wanted =
    artifactType === undefined ? ofSubject : ofSubject.where('artifact_type', '=', artifactType);
  const rest = last === undefined ? wanted : wanted.where('digest', '>', last);
  const sizes = await rest
    .select(['digest', 'entry_bytes'])
    .orderBy('digest')
    .limit(page.n + 1)
    .execute();
  const count = fitting(sizes, page);
  const end = sizes[count - 1];
  const more = sizes.length > count;
  if (end === undefined) return { referrers: [], more };
  const rows = await rest
    .select(['digest', 'media_type', 'size', 'artifact_type', 'annotations'])
    .where('digest', '<=', end.digest)
    .orderBy('digest')
    .limit(count)
    .execute();
  return { referrers: rows.map(referrerOf), more };
}

/** Records that a manifest refers to its subject, as it is to be listed. */
export async function putReferrer(
  db: Transaction<RegistryTables>,
  manifest: NewManifest & { subject: Digest },
): Promise<void> {
  const { repository, digest, subject, mediaType, bytes, artifactType, annotations } = manifest;
  const entry = {
    mediaType,
    digest,
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
  const listed = {
    subject,
    media_type: mediaType,
    size: entry.size,
    artifact_type: artifactType ?? null,
    annotations: annotations === undefined ? null : JSON.stringify(annotations),
    entry_bytes: Buffer.byteLength(JSON.stringify(entry)),
  };
  await db
    .insertInto('referrer')
    .values({ repository, digest, ...listed })
    .onConflict((conflict) => conflict.columns(['repository', 'digest']).doUpdateSet(listed))
    .execute();
}

/** How many of the rows a page holds: at least one, so that paging comes to its end. */
function fitting(
  rows: readonly { entry_bytes: number | string }[],
  { n, bytes }: ReferrersPage,
): number {
  let left = bytes;
  const upTo = rows.findIndex((row, i) => {
    left -= Number(row.entry_bytes);
    return left < 0 && i > 0;
  });
  return Math.min(n, upTo < 0 ? rows.length : upTo);
}

function referrerOf(row: {
  digest: Digest;
  media_type: string;
  size: number | string;
  artifact_type: string | null;
  annotations: string | null;
}): Referrer {
  return {
    mediaType: row.media_type,
    digest: row.digest,
    size: Number(row.size),
    ...(row.artifact_type === null ? {} : { artifactType: row.artifact_type }),
    ...(row.annotations === null ? {} : { annotations: JSON.parse(row.annotations) }),
  };
}
