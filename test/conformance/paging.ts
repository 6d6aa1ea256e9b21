import { expectStatus, headerOf, type Answer } from './answer.ts';
import { fail } from './check.ts';
import type { RegistryHttp } from './registry-http.ts';

/** A list with more pages than this does not end. */
const PAGES_MAX = 1000;

/** All pages of a list, each with the URL that the Link header of the one before names. */
export async function linkedPages(http: RegistryHttp, path: string): Promise<Answer[]> {
  const pages: Answer[] = [];
  let next: string | URL | undefined = path;
  while (next !== undefined) {
    if (pages.length === PAGES_MAX) fail(`${path} has more than ${PAGES_MAX} pages`);
    // oxlint-disable-next-line no-await-in-loop -- a page tells where the next one is
    const page: Answer = await http.ask(next);
    expectStatus(page, 200);
    pages.push(page);
    next = nextOf(page);
  }
  return pages;
}

/** RFC 8288: the target of the link with relation next. */
function nextOf(answer: Answer): URL | undefined {
  const header = headerOf(answer, 'link');
  if (header === undefined) return undefined;
  const target = /<([^>]*)>[^<]*;\s*rel="?next"?/i.exec(header)?.[1];
  if (target === undefined) fail(`Link "${header}" names no next page`);
  const base = new URL(answer.path, answer.url);
  if (!URL.canParse(target, base.href)) fail(`Link "${header}" is no URL`);
  return new URL(target, base);
}
