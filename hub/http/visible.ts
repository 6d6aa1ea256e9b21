import { ociError } from '../../proto/oci/errors.ts';
import { projectOf } from '../access/project.ts';
import type { Catalog, Page } from '../catalog/port.ts';
import { HIDDEN_PROJECTS_MAX } from './constants.ts';

type Repositories = Pick<Catalog, 'repositories'>;

/**
 * The list of repositories without those that somebody may not see. What is hidden of a project is
 * skipped with one look, however much it is.
 */
export function visibleRepositories(
  catalog: Repositories,
  isVisible: (repository: string) => Promise<boolean>,
): Repositories {
  return {
    repositories: async ({ n, last }: Page) => {
      const found: string[] = [];
      let at = last;
      for (let looks = 0; found.length < n; looks++) {
        if (looks > HIDDEN_PROJECTS_MAX) {
          throw ociError('UNAVAILABLE', 'too much of the list is not for these credentials');
        }
        const wanted = n - found.length;
        // oxlint-disable-next-line no-await-in-loop -- each page begins where the last one ended
        const page = await catalog.repositories({
          n: wanted,
          ...(at === undefined ? {} : { last: at }),
        });
        // oxlint-disable-next-line no-await-in-loop -- a page of the list
        const hidden = await takeVisible(page, isVisible, found);
        if (hidden === undefined && page.length < wanted) break;
        at = hidden === undefined ? page.at(-1) : endOf(hidden);
      }
      return found;
    },
  };
}

/** Moves names to `found` up to the first hidden one, which it returns. */
async function takeVisible(
  page: readonly string[],
  isVisible: (repository: string) => Promise<boolean>,
  found: string[],
): Promise<string | undefined> {
  for (const name of page) {
    // oxlint-disable-next-line no-await-in-loop -- in the order of the list
    if (!(await isVisible(name))) return name;
    found.push(name);
  }
  return undefined;
}

/** The last name that could stand in the project of this one: no name has a "~". */
function endOf(repository: string): string {
  return repository.includes('/') ? `${projectOf(repository)}/~` : repository;
}
