import { ociError } from '../../proto/oci/errors.ts';
import { projectOf } from '../access/project.ts';
import type { Catalog, Page } from '../catalog/port.ts';
import { HIDDEN_LOOK_MAX, HIDDEN_PROJECTS_MAX } from './constants.ts';

type Repositories = Pick<Catalog, 'repositories'>;

/** What of the list is to be seen: this repository, not this one, or nothing of its project. */
export type Sight = 'visible' | 'hidden' | 'all-hidden';

/**
 * The list of repositories without those that somebody may not see. What is hidden of a project as
 * a whole is skipped with one look, however much it is.
 */
export function visibleRepositories(
  catalog: Repositories,
  sightOf: (repository: string) => Promise<Sight>,
): Repositories {
  return {
    repositories: async ({ n, last }: Page) => {
      const found: string[] = [];
      let at = last;
      let rows = n;
      for (let looks = 0; found.length < n; looks++) {
        if (looks > HIDDEN_PROJECTS_MAX) {
          throw ociError('UNAVAILABLE', 'too much of the list is not for these credentials');
        }
        // oxlint-disable-next-line no-await-in-loop -- each page begins where the last one ended
        const page = await catalog.repositories({
          n: rows,
          ...(at === undefined ? {} : { last: at }),
        });
        // oxlint-disable-next-line no-await-in-loop -- a page of the list
        const end = await takeVisible(page, sightOf, found);
        if (page.length < rows) break;
        at = end;
        // What is skipped is read for nothing: not much at a time.
        rows = HIDDEN_LOOK_MAX;
      }
      return found.slice(0, n);
    },
  };
}

/** Moves the names one may see to `found`; where the list goes on. */
async function takeVisible(
  page: readonly string[],
  sightOf: (repository: string) => Promise<Sight>,
  found: string[],
): Promise<string> {
  let end = '';
  for (const name of page) {
    if (name <= end) continue;
    // oxlint-disable-next-line no-await-in-loop -- in the order of the list
    const sight = await sightOf(name);
    end = sight === 'all-hidden' ? endOf(name) : name;
    if (sight === 'visible') found.push(name);
  }
  return end;
}

/** The last name that could stand in the project of this one: no name has a "~". */
function endOf(repository: string): string {
  return repository.includes('/') ? `${projectOf(repository)}/~` : repository;
}
