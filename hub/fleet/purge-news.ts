import type { MemberTable } from './member-table.ts';

/** What was taken down, as agents are told; the version changes with it. */
export type PurgedDigests = { version: string; digests: readonly string[] };

export type PurgeSource = {
  /** Nothing, if left out. */
  purged?: () => PurgedDigests;
  /** Told which peer has acted on that, for other hubs. */
  purgeActed?: (peerId: string, version: string) => void;
};

type Modules = PurgeSource & { table: MemberTable };

const NOTHING: PurgedDigests = { version: '', digests: [] };

/** Tells agents what was taken down, and remembers which of them have acted on it. */
export class PurgeNews {
  readonly #modules: Modules;
  /** Version of a list that each peer has acted on; forgotten with its membership. */
  readonly #acted = new Map<string, string>();

  constructor(modules: Modules) {
    this.#modules = modules;
  }

  /** What an agent has to be told; `acted` is undefined for one that knows nothing of this. */
  newsFor(peerId: string, acted: string | undefined): PurgedDigests | undefined {
    if (acted === undefined) return undefined;
    const list = this.#list();
    if (acted !== list.version) {
      this.#acted.delete(peerId);
      return list;
    }
    const isNews = this.#acted.get(peerId) !== acted;
    this.#acted.set(peerId, acted);
    if (isNews && list.digests.length > 0) this.#modules.purgeActed?.(peerId, acted);
    return undefined;
  }

  /** Forgets those that are no members any more. */
  forget(nowMs: number): void {
    const { table } = this.#modules;
    for (const peerId of this.#acted.keys()) {
      if (table.current(peerId, nowMs) === undefined) this.#acted.delete(peerId);
    }
  }

  /**
   * Nodes of the fleet that have not acted on the present list, by name; `elsewhere` are peers that
   * have told another hub so.
   */
  unreached(nowMs: number, elsewhere: ReadonlySet<string>): string[] {
    const { version } = this.#list();
    const members = this.#modules.table.members(nowMs);
    const missing = members.filter(({ peerId }) => {
      return this.#acted.get(peerId) !== version && !elsewhere.has(peerId);
    });
    return [...new Set(missing.map(({ node }) => node))].sort();
  }

  #list(): PurgedDigests {
    return this.#modules.purged?.() ?? NOTHING;
  }
}
