import type { Logger } from '../../proto/ops/logger.ts';
import { PROJECTS_MAX } from '../access/constants.ts';
import type { Rights } from '../access/rights.ts';
import type { AccessStore } from '../access/store.ts';
import type { Upstreams } from './port.ts';

type Modules = {
  store: Pick<AccessStore, 'addProject'>;
  rights: Pick<Rights, 'changed'>;
  logger: Logger;
};

/**
 * Makes the project of each upstream that has none. Who may read one that is there is for those to
 * say who look after it.
 */
export async function openUpstreamProjects(
  { all }: Pick<Upstreams, 'all'>,
  { store, rights, logger }: Modules,
): Promise<void> {
  for (const { name, visibility } of all) {
    const row = { name, visibility, createdAtMs: Date.now() };
    const result = await store.addProject(row, { max: PROJECTS_MAX });
    if (result === 'ok') logger.info({ project: name, visibility }, 'project of an upstream made');
    if (result === 'full')
      logger.error({ project: name }, 'no room for the project of an upstream');
  }
  rights.changed();
}
