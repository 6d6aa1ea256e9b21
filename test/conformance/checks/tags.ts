import { expectHeader, expectStatus, headerOf, jsonOf, type Answer } from '../answer.ts';
import { fail, inOrder, skip, type Check, type Trial } from '../check.ts';
import { freshTag } from '../content.ts';
import { linkedPages } from '../paging.ts';
import type { Repository } from '../repository.ts';

const SPEC = 'Listing Tags';
const TAGS = 6;

/** The tags of an answer, in a body as the specification has it. */
export function tagsOf(answer: Answer, { name }: Repository): string[] {
  expectStatus(answer, 200);
  const body = jsonOf(answer);
  if (body['name'] !== name) fail(`"name" is ${JSON.stringify(body['name'])}, not ${name}`);
  const tags: unknown = body['tags'] ?? [];
  if (!Array.isArray(tags)) fail('"tags" is not a list');
  return tags.map(String);
}

/** Every tag of the repository, over all pages. */
export async function allTags(repo: Repository): Promise<string[]> {
  const pages = await linkedPages(repo.http, `/v2/${repo.name}/tags/list`);
  return pages.flatMap((page) => tagsOf(page, repo));
}

/** Pushes an image under tags that stand side by side in the list; they come back in order. */
async function pushTags({ repo }: Trial): Promise<string[]> {
  const start = freshTag('page');
  const tags = Array.from({ length: TAGS }, (_, i) => `${start}-${i}`);
  await repo.pushImage(tags.toReversed());
  return tags;
}

function isSorted(tags: readonly string[], key: (tag: string) => string): boolean {
  return tags.every((tag, i) => i === 0 || key(tags[i - 1] ?? '') <= key(tag));
}

function expectSorted(tags: readonly string[]): void {
  const bytes = isSorted(tags, (tag) => tag);
  if (bytes || isSorted(tags, (tag) => tag.toLowerCase())) return;
  fail(`the tags are in no order: ${tags.slice(0, 20).join(' ')}`);
}

function expectTags(found: readonly string[], wanted: readonly string[]): void {
  if (found.join() === wanted.join()) return;
  fail(`tags ${found.join(' ') || '(none)'} instead of ${wanted.join(' ') || 'none'}`);
}

/** Pages through everything behind the tag before the first of ours. */
async function pageThrough({ repo }: Trial, tags: readonly string[]): Promise<void> {
  const pages = await linkedPages(repo.http, `/v2/${repo.name}/tags/list?n=2`);
  const seen = pages.map((page) => tagsOf(page, repo));
  if (seen.some((page) => page.length > 2)) fail('a page has more tags than the two asked for');
  const all = seen.flat();
  expectSorted(all);
  if (new Set(all).size !== all.length) fail('a tag is on more than one page');
  const missing = tags.filter((tag) => !all.includes(tag));
  if (missing.length > 0) fail(`no page has ${missing.join(' ')}`);
}

function check(name: string, run: (trial: Trial) => Promise<void>, level: Check['level'] = 'MUST') {
  return { id: `tags/${name}`, spec: SPEC, level, since: '1.1', run } satisfies Check;
}

/** Of a repository that nothing was pushed to; first of the run. */
export const emptyTagsCheck: Check = check('list of an empty repository', async ({ repo }) => {
  const answer = await repo.ask('tags/list');
  expectStatus(answer, 200, 404);
  if (answer.status === 200) expectTags(tagsOf(answer, repo), []);
});

export const tagChecks: readonly Check[] = [
  check('list in order', async (trial) => {
    const tags = await pushTags(trial);
    const mixed = ['B', 'a', 'C', '_', '1.0', '10', '9'].map((tag) => `${tag}-${freshTag('x')}`);
    await trial.repo.pushImage(mixed);
    const found = await allTags(trial.repo);
    expectSorted(found);
    const missing = [...tags, ...mixed].filter((tag) => !found.includes(tag));
    if (missing.length > 0) fail(`the list lacks ${missing.join(' ')}`);
  }),
  check('n of them', async (trial) => {
    await pushTags(trial);
    const { repo } = trial;
    const answer = await repo.ask('tags/list?n=2');
    const tags = tagsOf(answer, repo);
    const linked = headerOf(answer, 'link') !== undefined;
    if (tags.length > 2 || (tags.length < 2 && !linked)) fail(`${tags.length} tags instead of 2`);
  }),
  check('n of them behind last', async (trial) => {
    const [first = '', second = '', third = ''] = await pushTags(trial);
    const { repo } = trial;
    const answer = await repo.ask(`tags/list?n=2&last=${first}`);
    expectTags(tagsOf(answer, repo), [second, third]);
  }),
  check('behind last, without n', async (trial) => {
    const tags = await pushTags(trial);
    const { repo } = trial;
    const found = tagsOf(await repo.ask(`tags/list?last=${tags[1]}`), repo);
    expectTags(found.slice(0, TAGS - 2), tags.slice(2));
  }),
  check('behind a last that is no tag here', async (trial) => {
    const tags = await pushTags(trial);
    const { repo } = trial;
    const answer = await repo.ask(`tags/list?n=1&last=${tags[1]}-behind`);
    expectTags(tagsOf(answer, repo), tags.slice(2, 3));
  }),
  check('behind the last of all', async ({ repo }) => {
    await repo.pushImage([freshTag('zz')]);
    const last = (await allTags(repo)).at(-1) ?? '';
    const answer = await repo.ask(`tags/list?n=5&last=${last}`);
    expectTags(tagsOf(answer, repo), []);
    if (headerOf(answer, 'link') !== undefined) fail('the end of the list has a Link');
  }),
  check('none of them', async (trial) => {
    await pushTags(trial);
    const answer = await trial.repo.ask('tags/list?n=0');
    expectTags(tagsOf(answer, trial.repo), []);
    if (headerOf(answer, 'link') !== undefined) fail('n=0 is answered with a Link');
  }),
  check(
    'page by page with Link',
    async (trial) => {
      const tags = await pushTags(trial);
      const answer = await trial.repo.ask('tags/list?n=2');
      if (headerOf(answer, 'link') === undefined) skip('pages of tags have no Link');
      expectHeader(answer, 'link', /^<[^>]+>;\s*rel="?next"?/);
      await pageThrough(trial, tags);
    },
    'MAY',
  ),
  check('as many as one likes', async (trial) => {
    const tags = await pushTags(trial);
    await inOrder([2 ** 31, 1_000_000_000], async (n) => {
      const answer = await trial.repo.ask(`tags/list?n=${n}&last=${tags[0]}`);
      // A registry may refuse such a page, but not fail at it.
      expectStatus(answer, 200, 400);
      if (answer.status === 200)
        expectTags(tagsOf(answer, trial.repo).slice(0, 1), [tags[1] ?? '']);
    });
  }),
];
