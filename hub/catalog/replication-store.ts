import type { Kysely, Selectable } from 'kysely';
import type { ArtifactResult, ArtifactState } from '../replication/store.ts';
import type { ReplicationStore, ResultPage } from '../replication/store.ts';
import type { StoredRule } from '../replication/rule.ts';
import { databaseNow } from './database-clock.ts';
import type { Big } from './schema.ts';
import { change, transact } from './transact.ts';

/** Tables of migration 0013 that are about replication. */
export type ReplicationTables = {
  replication_rule: {
    name: string;
    enabled: number;
    /** JSON. */
    settings: string;
    changed_at_ms: Big;
  };
  replication_result: {
    execution: string;
    repository: string;
    reference: string;
    destination: string;
    digest: string | null;
    state: string;
    message: string;
    /** JSON. */
    counts: string;
    attempts: number;
    changed_at_ms: Big;
  };
  replication_transfer: {
    place: string;
    repository: string;
    digest: string;
    state: string;
    changed_at_ms: Big;
  };
};

type Database = Kysely<ReplicationTables>;

const ALONE = { lock: 'replication' };
const STATES: readonly ArtifactState[] = [
  'copying',
  'copied',
  'present',
  'skipped',
  'refused',
  'failed',
  'deleted',
];

/** Rules of replication and what became of them, in the tables of migration 0013. */
export class KyselyReplicationStore implements ReplicationStore {
  readonly #db: Database;

  constructor(modules: { db: Database }) {
    this.#db = modules.db;
  }

  async rules(): Promise<StoredRule[]> {
    const rows = await this.#db
      .selectFrom('replication_rule')
      .selectAll()
      .orderBy('name')
      .execute();
    return rows.map(ruleOf);
  }

  async rule(name: string): Promise<StoredRule | undefined> {
    const row = await this.#db
      .selectFrom('replication_rule')
      .selectAll()
      .where('name', '=', name)
      .executeTakeFirst();
    return row && ruleOf(row);
  }

  addRule(rule: StoredRule, { max }: { max: number }): Promise<'ok' | 'exists' | 'full'> {
    const work = async (db: Database): Promise<'ok' | 'exists' | 'full'> => {
      const names = await db.selectFrom('replication_rule').select('name').execute();
      if (names.some(({ name }) => name === rule.name)) return 'exists';
      if (names.length >= max) return 'full';
      await db.insertInto('replication_rule').values(rowOf(rule)).execute();
      return 'ok';
    };
    return transact(this.#db, work, ALONE);
  }

  async changeRule(rule: StoredRule): Promise<boolean> {
    const { name, ...set } = rowOf(rule);
    const { numUpdatedRows } = await change(this.#db, (db) =>
      db.updateTable('replication_rule').set(set).where('name', '=', name).executeTakeFirst(),
    );
    return numUpdatedRows > 0n;
  }

  async dropRule(name: string): Promise<boolean> {
    const { numDeletedRows } = await change(this.#db, (db) =>
      db.deleteFrom('replication_rule').where('name', '=', name).executeTakeFirst(),
    );
    return numDeletedRows > 0n;
  }

  async noteResult(execution: string, result: ArtifactResult): Promise<void> {
    const { repository, reference, destination, digest, state, message, counts, attempts } = result;
    await change(this.#db, (db) => {
      const set = {
        destination,
        digest: digest ?? null,
        state,
        // PostgreSQL takes no NUL.
        message: message.replaceAll('\0', ''),
        counts: JSON.stringify(counts),
        attempts,
        changed_at_ms: databaseNow(db),
      };
      return db
        .insertInto('replication_result')
        .values({ execution, repository, reference, ...set })
        .onConflict((conflict) =>
          conflict.columns(['execution', 'repository', 'reference']).doUpdateSet(set),
        )
        .execute();
    });
  }

  async results(
    execution: string,
    { n, last, state }: ResultPage,
  ): Promise<(ArtifactResult & { changedMs: number })[]> {
    let rows = this.#db
      .selectFrom('replication_result')
      .selectAll()
      .where('execution', '=', execution);
    if (state !== undefined) rows = rows.where('state', '=', state);
    if (last !== undefined) {
      const { repository, reference } = last;
      rows = rows.where((is) =>
        is(is.refTuple('repository', 'reference'), '>', is.tuple(repository, reference)),
      );
    }
    const found = await rows.orderBy('repository').orderBy('reference').limit(n).execute();
    return found.map(resultOf);
  }

  async states(execution: string): Promise<Map<string, ArtifactState>> {
    const rows = await this.#db
      .selectFrom('replication_result')
      .select(['repository', 'reference', 'state'])
      .where('execution', '=', execution)
      .execute();
    return new Map(
      rows.map(({ repository, reference, state }) => [
        `${repository} ${reference}`,
        stateOf(state),
      ]),
    );
  }

  async transfer(place: string, repository: string, digest: string): Promise<string | undefined> {
    const row = await this.#db
      .selectFrom('replication_transfer')
      .select('state')
      .where('place', '=', place)
      .where('repository', '=', repository)
      .where('digest', '=', digest)
      .executeTakeFirst();
    return row?.state;
  }

  async setTransfer(
    place: string,
    repository: string,
    digest: string,
    state: string,
  ): Promise<void> {
    await change(this.#db, (db) => {
      const set = { state, changed_at_ms: databaseNow(db) };
      return db
        .insertInto('replication_transfer')
        .values({ place, repository, digest, ...set })
        .onConflict((conflict) =>
          conflict.columns(['place', 'repository', 'digest']).doUpdateSet(set),
        )
        .execute();
    });
  }

  async dropTransfer(place: string, repository: string, digest: string): Promise<void> {
    await change(this.#db, (db) =>
      db
        .deleteFrom('replication_transfer')
        .where('place', '=', place)
        .where('repository', '=', repository)
        .where('digest', '=', digest)
        .execute(),
    );
  }

  async sweepTransfers(olderThanMs: number): Promise<void> {
    await change(this.#db, (db) =>
      db
        .deleteFrom('replication_transfer')
        .where((is) => is(is('changed_at_ms', '+', olderThanMs), '<', databaseNow(db)))
        .execute(),
    );
  }
}

function ruleOf(row: Selectable<ReplicationTables['replication_rule']>): StoredRule {
  return {
    name: row.name,
    enabled: row.enabled !== 0,
    settings: JSON.parse(row.settings),
    changedMs: Number(row.changed_at_ms),
  };
}

function rowOf({ name, enabled, settings, changedMs }: StoredRule) {
  return {
    name,
    enabled: enabled ? 1 : 0,
    settings: JSON.stringify(settings),
    changed_at_ms: changedMs,
  };
}

function resultOf(
  row: Selectable<ReplicationTables['replication_result']>,
): ArtifactResult & { changedMs: number } {
  const { repository, reference, destination, digest, message, attempts } = row;
  return {
    repository,
    reference,
    destination,
    digest: digest ?? undefined,
    state: stateOf(row.state),
    message,
    counts: JSON.parse(row.counts),
    attempts,
    changedMs: Number(row.changed_at_ms),
  };
}

function stateOf(text: string): ArtifactState {
  return STATES.find((known) => known === text) ?? 'failed';
}
