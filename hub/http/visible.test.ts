import assert from 'node:assert/strict';
import { test } from 'node:test';
import { projectOf } from '../access/project.ts';
import type { Page } from '../catalog/port.ts';
import { visibleRepositories, type Sight } from './visible.ts';

const numbered = (prefix: string) =>
  Array.from({ length: 3000 }, (_, index) => prefix + String(index).padStart(4, '0'));
const OWN = ['own/a', 'own/b', 'own/c', 'own-2/x', 'p/x'];
const NAMES = [numbered('a'), OWN, numbered('secret/'), ['z/x']].flat().sort();

/** The list for somebody, and what it takes to make it. */
function listFor(sightOf: (repository: string) => Sight) {
  const cost = { looks: 0, rows: 0 };
  const repositories = async ({ n, last = '' }: Page): Promise<string[]> => {
    const page = NAMES.filter((name) => name > last).slice(0, n);
    cost.looks++;
    cost.rows += page.length;
    return page;
  };
  const list = visibleRepositories({ repositories }, async (name) => sightOf(name));
  return { list, cost };
}

/** Of a project in parts, and of others nothing or all. */
function inPart(name: string): Sight {
  if (name === 'own/b' || name === 'z/x' || name === 'a1500') return 'visible';
  return projectOf(name) === 'own' ? 'hidden' : 'all-hidden';
}

test('pages together are what one may see, whatever is hidden between', async () => {
  for (const n of [1, 2, 3, 1001]) {
    const { list } = listFor(inPart);
    const seen: string[] = [];
    for (;;) {
      const last = seen.at(-1);
      const page = await list.repositories({ n, ...(last === undefined ? {} : { last }) });
      assert.ok(page.length <= n);
      seen.push(...page);
      if (page.length < n) break;
    }
    assert.deepEqual(seen, ['a1500', 'own/b', 'z/x'], String(n));
  }
});

test('a stranger makes the hub read little more than the list itself', async () => {
  const { list, cost } = listFor((name) => (name === 'z/x' ? 'visible' : 'all-hidden'));
  assert.deepEqual(await list.repositories({ n: 1001 }), ['z/x']);
  assert.ok(cost.looks < 50, `${cost.looks} looks`);
  assert.ok(cost.rows < 2 * NAMES.length, `${cost.rows} rows`);
});
