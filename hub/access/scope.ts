/** One entry of a token's `access` claim, as the Docker token specification has it. */
export type ScopeGrant = { type: string; name: string; actions: string[] };

/** Reads `type:name:actions`; the name may contain colons. undefined when it is malformed. */
export function parseScope(text: string): ScopeGrant | undefined {
  const first = text.indexOf(':');
  const last = text.lastIndexOf(':');
  if (first < 1 || last === first) return undefined;
  const actions = text.slice(last + 1).split(',');
  return { type: text.slice(0, first), name: text.slice(first + 1, last), actions };
}

export function formatScope({ type, name, actions }: ScopeGrant): string {
  return `${type}:${name}:${actions.join(',')}`;
}
