import { parseRepository } from '../../proto/oci/name.ts';
import type { TokenResource } from '../../proto/trust/access-token.ts';

export const ACTIONS = ['pull', 'push', 'delete'] as const;
/** What may be done with a repository. */
export type Action = (typeof ACTIONS)[number];

/** The list of all repositories, or what may be done with one. */
export type Grant =
  | { type: 'repository'; name: string; actions: Action[] }
  | { type: 'registry'; name: 'catalog'; actions: ['*'] };

const CATALOG: Grant = { type: 'registry', name: 'catalog', actions: ['*'] };
const CATALOG_SCOPE = 'registry:catalog:*';

/**
 * A scope of the token service, `repository:<name>:<action>,...` or `registry:catalog:*`; `*` is
 * every action. The name is what stands between the first and the last colon. Undefined for other
 * types, for a wrong name and for no known action.
 */
export function parseScope(text: string): Grant | undefined {
  if (text === CATALOG_SCOPE) return CATALOG;
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first === last || text.slice(0, first) !== 'repository') return undefined;
  const name = text.slice(first + 1, last);
  const wanted = new Set(text.slice(last + 1).split(','));
  const actions = ACTIONS.filter((action) => wanted.has(action) || wanted.has('*'));
  return actions.length > 0 && isRepository(name)
    ? { type: 'repository', name, actions }
    : undefined;
}

/** The scopes in the order of their first mention, those of one repository taken together. */
export function mergeGrants(grants: readonly Grant[]): Grant[] {
  const merged = new Map<string, Grant>();
  for (const grant of grants) {
    const key = `${grant.type}:${grant.name}`;
    const known = merged.get(key);
    if (known?.type === 'repository' && grant.type === 'repository') {
      const both = new Set([...known.actions, ...grant.actions]);
      merged.set(key, { ...known, actions: ACTIONS.filter((action) => both.has(action)) });
    } else if (known === undefined) merged.set(key, grant);
  }
  return [...merged.values()];
}

export function formatScope({ type, name, actions }: Grant): string {
  return `${type}:${name}:${actions.join(',')}`;
}

/** What of a token this version knows. */
export function grantsOf(resources: readonly TokenResource[]): Grant[] {
  return resources.flatMap(({ type, name, actions }): Grant[] => {
    if (type === 'registry') return name === 'catalog' && actions.includes('*') ? [CATALOG] : [];
    if (type !== 'repository') return [];
    return [{ type, name, actions: ACTIONS.filter((action) => actions.includes(action)) }];
  });
}

function isRepository(name: string): boolean {
  try {
    return parseRepository(name) === name;
  } catch {
    return false;
  }
}
