import type { MemberTable } from './member-table.ts';

/** What was taken down, as agents are told; the version changes with it. */
export type PurgedDigests = { version: string; digests: readonly string[] };

/** Tells agents what was taken down, and remembers which of them have acted on it. */
export class PurgeNews {
  readonly #modules: { table: MemberTable; list: () => PurgedDigests };
  /** Version that each peer says it has acted on; forgotten with its membership. */
  readonly #acted = new Map<string, string>();

  constructor(modules: { table: MemberTable; list: () => PurgedDigests }) {
    this.#modules = modules;
  }

  /** What an agent has to be told; `acted` is undefined for one that knows nothing of this. */
  newsFor(peerId: string, acted: string | undefined): PurgedDigests | undefined {
    if (acted === undefined) return undefined;
    this.#acted.set(peerId, acted);
    const list = this.#modules.list();
    return acted === list.version ? undefined : list;
  }

  /** Nodes of the fleet that have not acted on the present list, by name. */
  unreached(nowMs: number): string[] {
    const { version } = this.#modules.list();
    const members = this.#modules.table.members(nowMs);
    const current = new Set(members.map(({ peerId }) => peerId));
    for (const peerId of this.#acted.keys()) if (!current.has(peerId)) this.#acted.delete(peerId);
    const missing = members.filter(({ peerId }) => this.#acted.get(peerId) !== version);
    return [...new Set(missing.map(({ node }) => node))].sort();
  }
}
