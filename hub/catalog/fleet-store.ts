import type { ColumnType, Insertable, Kysely, Selectable, Transaction } from 'kysely';
import type {
  CertificateRow,
  FleetStore,
  JoinTokenRow,
  MembersChange,
  SealedRing,
  TokenVerdict,
} from '../fleet/store.ts';
import type { Big } from './schema.ts';
import { change, transact } from './transact.ts';

/** Tables of migrations 0002 and 0008. */
export type FleetTables = {
  fleet_meta: { key: string; value: string; number: Big };
  fleet_member: {
    serial: Big;
    peer_id: string;
    node: string;
    zone: string;
    /** JSON list. */
    addresses: string;
    libp2p_port: number;
    lane_port: number;
    not_before_ms: Big;
    not_after_ms: Big;
    revoked_at_ms: ColumnType<number | string | null, number | null, number>;
    /** Base64. */
    certificate: string;
    build: string;
    /** Serial of the change that made or revoked it. */
    changed: Big;
  };
  fleet_key_ring: { name: string; serial: Big; sealed_with: string; sealed: string };
  /** Times of signed requests. */
  fleet_last_call: { peer_id: string; call: string; time_ms: Big };
  fleet_join_token: {
    token_id: string;
    /** Hex. */
    secret_hash: string;
    expires_at_ms: Big;
    uses_left: number;
  };
};

type MemberTable = FleetTables['fleet_member'];

const SERIAL_KEY = 'serial';
/** There is one ring. */
const RING_NAME = 'ring';
/** Serials of one statement; databases bound the number of parameters. */
const REVOKE_BATCH_MAX = 500;

function rowOf(row: CertificateRow): Insertable<MemberTable> {
  return {
    serial: row.serial,
    peer_id: row.peerId,
    node: row.node,
    zone: row.zone,
    addresses: JSON.stringify(row.addresses),
    libp2p_port: row.libp2pPort,
    lane_port: row.lanePort,
    not_before_ms: row.notBeforeMs,
    not_after_ms: row.notAfterMs,
    revoked_at_ms: row.revokedAtMs ?? null,
    certificate: row.certificate.toString('base64'),
    build: row.build,
    changed: row.changed,
  };
}

function addressesOf(json: string): string[] {
  const list: unknown = JSON.parse(json);
  return Array.isArray(list) ? list.filter((item) => typeof item === 'string') : [];
}

function certificateOf(row: Selectable<MemberTable>): CertificateRow {
  return {
    serial: Number(row.serial),
    peerId: row.peer_id,
    node: row.node,
    zone: row.zone,
    addresses: addressesOf(row.addresses),
    libp2pPort: row.libp2p_port,
    lanePort: row.lane_port,
    notBeforeMs: Number(row.not_before_ms),
    notAfterMs: Number(row.not_after_ms),
    revokedAtMs: row.revoked_at_ms === null ? undefined : Number(row.revoked_at_ms),
    certificate: Buffer.from(row.certificate, 'base64'),
    build: row.build,
    changed: Number(row.changed),
  };
}

/** The fleet's tables in the catalog database. */
export class KyselyFleetStore implements FleetStore {
  readonly #db: Kysely<FleetTables>;

  constructor(modules: { db: Kysely<FleetTables> }) {
    this.#db = modules.db;
  }

  async settingOnce(key: string, initial: string): Promise<string> {
    await this.#db
      .insertInto('fleet_meta')
      .values({ key, value: initial, number: 0 })
      .onConflict((conflict) => conflict.column('key').doNothing())
      .execute();
    const row = await this.#db
      .selectFrom('fleet_meta')
      .select('value')
      .where('key', '=', key)
      .executeTakeFirstOrThrow();
    return row.value;
  }

  async setting(key: string): Promise<string | undefined> {
    const found = this.#db.selectFrom('fleet_meta').select('value').where('key', '=', key);
    return (await found.executeTakeFirst())?.value;
  }

  async lastSerial(): Promise<number> {
    const row = await this.#db
      .selectFrom('fleet_meta')
      .select('number')
      .where('key', '=', SERIAL_KEY)
      .executeTakeFirst();
    return Number(row?.number ?? 0);
  }

  changesSince(serial: number): Promise<CertificateRow[]> {
    return changesSince(this.#db, serial);
  }

  changeMembers<Result>(work: (change: MembersChange) => Promise<Result>): Promise<Result> {
    // The lock makes what is read stay true until it is written, on all hubs.
    return transact(this.#db, (db) => work(new KyselyMembersChange(db)), { lock: 'members' });
  }

  async purge(before: { endedMs: number; calledMs: number }): Promise<void> {
    await change(this.#db, (db) =>
      db.deleteFrom('fleet_member').where('not_after_ms', '<', before.endedMs).execute(),
    );
    await change(this.#db, (db) =>
      db.deleteFrom('fleet_last_call').where('time_ms', '<', before.calledMs).execute(),
    );
  }

  async sealedRing(after = 0): Promise<SealedRing | undefined> {
    const row = await this.#db
      .selectFrom('fleet_key_ring')
      .select(['serial', 'sealed_with', 'sealed'])
      .where('name', '=', RING_NAME)
      .where('serial', '>', after)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return { serial: Number(row.serial), sealedWith: row.sealed_with, sealed: row.sealed };
  }

  async replaceRing(
    { serial, sealedWith, sealed }: SealedRing,
    before: Omit<SealedRing, 'sealed'> | undefined,
  ): Promise<boolean> {
    const row = { serial, sealed_with: sealedWith, sealed };
    if (before === undefined) {
      const made = await change(this.#db, (db) =>
        db
          .insertInto('fleet_key_ring')
          .values({ name: RING_NAME, ...row })
          .onConflict((conflict) => conflict.column('name').doNothing())
          .returning('name')
          .executeTakeFirst(),
      );
      return made !== undefined;
    }
    const { numUpdatedRows } = await change(this.#db, (db) =>
      db
        .updateTable('fleet_key_ring')
        .set(row)
        .where('name', '=', RING_NAME)
        .where('serial', '=', before.serial)
        .where('sealed_with', '=', before.sealedWith)
        .executeTakeFirst(),
    );
    return numUpdatedRows > 0n;
  }

  async joinToken(tokenId: string): Promise<JoinTokenRow | undefined> {
    const row = await this.#db
      .selectFrom('fleet_join_token')
      .selectAll()
      .where('token_id', '=', tokenId)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      tokenId: row.token_id,
      secretHash: Buffer.from(row.secret_hash, 'hex'),
      expiresAtMs: Number(row.expires_at_ms),
      usesLeft: row.uses_left,
    };
  }

  putJoinToken(row: JoinTokenRow, limits: { nowMs: number; max: number }): Promise<boolean> {
    const work = async (db: Transaction<FleetTables>): Promise<boolean> => {
      await db.deleteFrom('fleet_join_token').where('expires_at_ms', '<', limits.nowMs).execute();
      const { count } = await db
        .selectFrom('fleet_join_token')
        .select((expression) => expression.fn.countAll().as('count'))
        .executeTakeFirstOrThrow();
      if (Number(count) >= limits.max) return false;
      await db
        .insertInto('fleet_join_token')
        .values({
          token_id: row.tokenId,
          secret_hash: row.secretHash.toString('hex'),
          expires_at_ms: row.expiresAtMs,
          uses_left: row.usesLeft,
        })
        .execute();
      return true;
    };
    return transact(this.#db, work, { lock: 'join tokens' });
  }
}

async function changesSince(db: Kysely<FleetTables>, serial: number): Promise<CertificateRow[]> {
  const rows = await db
    .selectFrom('fleet_member')
    .selectAll()
    .where('changed', '>', serial)
    .orderBy('changed')
    .orderBy('serial')
    .execute();
  return rows.map(certificateOf);
}

class KyselyMembersChange implements MembersChange {
  readonly #db: Transaction<FleetTables>;

  constructor(db: Transaction<FleetTables>) {
    this.#db = db;
  }

  async nextSerial(): Promise<number> {
    const row = await this.#db
      .insertInto('fleet_meta')
      .values({ key: SERIAL_KEY, value: '', number: 1 })
      .onConflict((conflict) =>
        conflict
          .column('key')
          .doUpdateSet((expression) => ({ number: expression('fleet_meta.number', '+', 1) })),
      )
      .returning('number')
      .executeTakeFirstOrThrow();
    return Number(row.number);
  }

  changesSince(serial: number): Promise<CertificateRow[]> {
    return changesSince(this.#db, serial);
  }

  useToken(token: { tokenId: string; nowMs: number }): Promise<TokenVerdict> {
    return useToken(this.#db, token);
  }

  async put(row: CertificateRow): Promise<void> {
    await this.#db.insertInto('fleet_member').values(rowOf(row)).execute();
  }

  async revoke(
    serials: readonly number[],
    { nowMs, changed }: { nowMs: number; changed: number },
  ): Promise<void> {
    for (let at = 0; at < serials.length; at += REVOKE_BATCH_MAX) {
      // oxlint-disable-next-line no-await-in-loop -- one statement after the other
      await this.#db
        .updateTable('fleet_member')
        .set({ revoked_at_ms: nowMs, changed })
        .where('serial', 'in', serials.slice(at, at + REVOKE_BATCH_MAX))
        .where('revoked_at_ms', 'is', null)
        .execute();
    }
  }

  async noteCall(call: string, peerId: string, timeMs: number): Promise<boolean> {
    const noted = await this.#db
      .insertInto('fleet_last_call')
      .values({ peer_id: peerId, call, time_ms: timeMs })
      .onConflict((conflict) =>
        conflict
          .columns(['peer_id', 'call'])
          .doUpdateSet({ time_ms: timeMs })
          .where('fleet_last_call.time_ms', '<', timeMs),
      )
      .returning('peer_id')
      .executeTakeFirst();
    return noted !== undefined;
  }
}

async function useToken(
  db: Transaction<FleetTables>,
  token: { tokenId: string; nowMs: number },
): Promise<TokenVerdict> {
  const used = await db
    .updateTable('fleet_join_token')
    .set((expression) => ({ uses_left: expression('uses_left', '-', 1) }))
    .where('token_id', '=', token.tokenId)
    .where('expires_at_ms', '>', token.nowMs)
    .where('uses_left', '>', 0)
    .returning('uses_left')
    .executeTakeFirst();
  if (used !== undefined) return 'ok';
  const row = await db
    .selectFrom('fleet_join_token')
    .select('expires_at_ms')
    .where('token_id', '=', token.tokenId)
    .executeTakeFirst();
  return row !== undefined && Number(row.expires_at_ms) > token.nowMs ? 'used-up' : 'expired';
}
