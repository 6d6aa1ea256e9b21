import { isDigest, type Digest } from '../../proto/oci/digest.ts';
import { damaged } from './errors.ts';
import type { TablePage } from './store.ts';

export type BackedUpBlob = { digest: Digest; size: number };

/** The blobs of a page; none of those of another table. */
export function blobsOf({ table, columns, rows }: TablePage): BackedUpBlob[] {
  if (table !== 'blob') return [];
  const [digestAt, sizeAt] = [columns.indexOf('digest'), columns.indexOf('size')];
  return rows.map((row) => {
    const [digest, size] = [row[digestAt], row[sizeAt]];
    if (typeof digest === 'string' && isDigest(digest) && typeof size === 'number') {
      return { digest, size };
    }
    throw damaged('a row of the catalog describes no blob');
  });
}

/** What was taken down, by a page of its table. */
export function purgedOf({ table, columns, rows }: TablePage): Digest[] {
  if (table !== 'purged_digest') return [];
  const at = columns.indexOf('digest');
  return rows.map((row) => {
    const digest = row[at];
    if (typeof digest === 'string' && isDigest(digest)) return digest;
    throw damaged('a row of the catalog names nothing that was taken down');
  });
}
