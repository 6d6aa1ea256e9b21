import { API_PAGE_MAX } from '../../proto/hubapi/admin.ts';
import type { NamePage } from '../access/store.ts';

/** The page that a query asks for. */
export function pageOf(query: Readonly<Record<string, string>>): NamePage {
  const { n, last } = query;
  return { n: Math.min(Number(n ?? API_PAGE_MAX), API_PAGE_MAX), last };
}

/** RFC 3339. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}
