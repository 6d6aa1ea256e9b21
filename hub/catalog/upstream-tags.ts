import type { Transaction } from 'kysely';
import type { Digest } from '../../proto/oci/digest.ts';
import * as links from './links.ts';
import { HUB_CLOCK_SKEW_MS } from './constants.ts';
import type { NewTagCheck } from './port.ts';
import type { RegistryTables } from './schema.ts';

type Tags = { repository: string; tags: readonly string[] };

/** The lock under which hubs move tags of a repository of an upstream. */
export function tagsLock(repository: string): string {
  return `upstream tags of ${repository}`;
}

/** Those of the tags of which nothing later is noted. Under `tagsLock`. */
export async function movable(
  db: Transaction<RegistryTables>,
  { repository, tags }: Tags,
  { checkedAtMs, nowMs }: NewTagCheck,
): Promise<string[]> {
  const left = new Set(tags);
  for (const batch of links.batches(tags)) {
    // oxlint-disable-next-line no-await-in-loop -- one statement after the other
    const later = await db
      .selectFrom('upstream_tag')
      .select('name')
      .where('repository', '=', repository)
      .where('name', 'in', batch)
      .where('checked_at_ms', '>', checkedAtMs)
      .where('checked_at_ms', '<=', nowMs + HUB_CLOCK_SKEW_MS)
      .execute();
    for (const { name } of later) left.delete(name);
  }
  return [...left];
}

/** Notes of those tags that name this digest when that was so. Under `tagsLock`. */
export async function noteChecked(
  db: Transaction<RegistryTables>,
  { repository, digest, tags }: Tags & { digest: Digest },
  { etag = null, checkedAtMs }: { etag?: string | null | undefined; checkedAtMs: number },
): Promise<void> {
  const set = { etag, checked_at_ms: checkedAtMs };
  for (const batch of links.batches(tags)) {
    // oxlint-disable-next-line no-await-in-loop -- one statement after the other
    await db
      .insertInto('upstream_tag')
      .columns(['repository', 'name', 'etag', 'checked_at_ms'])
      .expression((from) =>
        from
          .selectFrom('tag')
          .select((is) => [
            'repository',
            'name',
            is.cast<string | null>(is.val(etag), 'text').as('etag'),
            is.cast<number>(is.val(checkedAtMs), 'bigint').as('checked_at_ms'),
          ])
          .where('repository', '=', repository)
          .where('digest', '=', digest)
          .where('name', 'in', batch),
      )
      .onConflict((conflict) => conflict.columns(['repository', 'name']).doUpdateSet(set))
      .execute();
  }
}
