import { parseRepository } from '../../proto/oci/name.ts';

export const ACTIONS = ['pull', 'push', 'delete'] as const;
export type Action = (typeof ACTIONS)[number];

/** What may be done with one repository. */
export type RepositoryAccess = { name: string; actions: Action[] };

/**
 * A scope of the token service, `repository:<name>:<action>,...`; `*` is every action. The name is
 * what stands between the first and the last colon. Undefined for other types, for a wrong name
 * and for no known action.
 */
export function parseScope(text: string): RepositoryAccess | undefined {
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first === last || text.slice(0, first) !== 'repository') return undefined;
  const name = text.slice(first + 1, last);
  const wanted = new Set(text.slice(last + 1).split(','));
  const actions = ACTIONS.filter((action) => wanted.has(action) || wanted.has('*'));
  return actions.length > 0 && isRepository(name) ? { name, actions } : undefined;
}

export function formatScope({ name, actions }: RepositoryAccess): string {
  return `repository:${name}:${actions.join(',')}`;
}

function isRepository(name: string): boolean {
  try {
    return parseRepository(name) === name;
  } catch {
    return false;
  }
}
