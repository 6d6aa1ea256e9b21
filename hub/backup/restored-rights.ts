import type { TablePage, Value } from './store.ts';
import { SERIAL_GAP, SERIALS_PER_MS } from './constants.ts';

/**
 * What becomes of rights and memberships that a backup has. Nobody knows what was ended between
 * the backup and its restoring: `locked` gives none of them back, `kept` all.
 */
export type RightsPolicy = 'locked' | 'kept';

/** What a restore took from somebody. */
export type LockedRights = {
  accounts: string[];
  robots: string[];
  projects: string[];
  nodes: number;
};

type Row = Record<string, Value>;

/** Settings of a fleet that has these keys. */
const OF_KEYS = ['fleet-id', 'root-fingerprint'];

/** Changes the rows of rights on their way out of a backup. */
export class RestoredRights {
  readonly #options: { policy: RightsPolicy; nowMs: number; backupMs: number; newFleet: boolean };
  readonly locked: LockedRights = { accounts: [], robots: [], projects: [], nodes: 0 };
  #serial = false;

  /** `newFleet`: its keys are gone, so it begins anew. */
  constructor(options: {
    policy: RightsPolicy;
    nowMs: number;
    backupMs: number;
    newFleet: boolean;
  }) {
    this.#options = options;
  }

  /** The same pages with other rows. */
  async *pages(pages: AsyncIterable<TablePage>): AsyncGenerator<TablePage> {
    for await (const page of pages) {
      const change = this.#changes[page.table];
      if (change === undefined) {
        yield page;
        continue;
      }
      const rows = page.rows.flatMap((row) => {
        const named: Row = Object.fromEntries(
          page.columns.map((name, i) => [name, row[i] ?? null]),
        );
        const changed = change(named);
        return changed === undefined ? [] : [page.columns.map((name) => changed[name] ?? null)];
      });
      yield { ...page, rows };
    }
    if (this.#serial) return;
    // A hub that has issued none yet may have done so since.
    const row = ['serial', '', this.#serialAfter(0)];
    yield { table: 'fleet_meta', columns: ['key', 'value', 'number'], rows: [row] };
  }

  readonly #changes: Readonly<Record<string, (row: Row) => Row | undefined>> = {
    fleet_meta: (row) => this.#meta(row),
    // The ring that goes on is another one, see restartRing.
    fleet_key_ring: () => undefined,
    fleet_member: (row) => this.#member(row),
    account: (row) => this.#account(row),
    robot: (row) => this.#robot(row),
    project: (row) => this.#project(row),
  };

  #meta(row: Row): Row | undefined {
    if (OF_KEYS.includes(String(row['key'])) && this.#options.newFleet) return undefined;
    if (row['key'] !== 'serial') return row;
    this.#serial = true;
    return { ...row, number: this.#serialAfter(Number(row['number'])) };
  }

  #member(row: Row): Row | undefined {
    if (this.#options.policy === 'kept' && !this.#options.newFleet) return row;
    this.locked.nodes += 1;
    return undefined;
  }

  #account(row: Row): Row {
    if (this.#options.policy === 'kept') return { ...row, epoch: this.#epochAfter(row) };
    if (row['disabled'] === 0) this.locked.accounts.push(String(row['name']));
    return { ...row, epoch: this.#epochAfter(row), disabled: 1 };
  }

  #robot(row: Row): Row {
    if (this.#options.policy === 'kept') return { ...row, epoch: this.#epochAfter(row) };
    const name = `${String(row['project'])}/${String(row['name'])}`;
    if (row['disabled'] === 0) this.locked.robots.push(name);
    return { ...row, epoch: this.#epochAfter(row), disabled: 1 };
  }

  #project(row: Row): Row {
    if (this.#options.policy === 'kept' || row['visibility'] !== 'public') return row;
    this.locked.projects.push(String(row['name']));
    return { ...row, visibility: 'private' };
  }

  /** What was issued in an earlier epoch is refused. */
  #epochAfter(row: Row): number {
    return Math.max(Number(row['epoch']) + 1, this.#options.nowMs);
  }

  /**
   * Above every serial that was issued between the backup and now, by this hub or by one that was
   * restored out of the same backup before.
   */
  #serialAfter(serial: number): number {
    const ageMs = Math.max(0, this.#options.nowMs - this.#options.backupMs);
    return serial + SERIAL_GAP + SERIALS_PER_MS * ageMs;
  }
}
