import { readFile } from 'node:fs/promises';
import type { PostgresCursor, PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import { Pool, types, type PoolClient, type PoolConfig } from 'pg';
import type { OutageLog } from '../../proto/ops/outage-log.ts';
import {
  ANSWER_TIMEOUT_MS,
  POOL_CONNECT_TIMEOUT_MS,
  POOL_IDLE_MS,
  POOL_SIZE,
  POOL_WAITING_MAX,
  STATEMENT_TIMEOUT_MS,
  TRANSACTION_IDLE_MS,
} from './constants.ts';
import { CatalogError } from './errors.ts';
import { catalogFault, unavailable } from './postgres-faults.ts';
import { retried } from './transact.ts';

/** Where a PostgreSQL database is and how it is reached. */
export type PostgresTarget = {
  /** A host, or the folder of a Unix socket. */
  host: string;
  port: number;
  user: string;
  database: string;
  password?: string;
  /** Read for every new connection, so that a password can change while the hub runs. */
  passwordFile?: string;
  /** Absent: no TLS. */
  tls?: { ca?: string };
};

export type PostgresPoolOptions = PostgresTarget & {
  connections?: number;
  statementTimeoutMs?: number;
  answerTimeoutMs?: number;
  /** Is told whether the server answers. */
  outage?: OutageLog | undefined;
  transactionIdleMs?: number;
};

/** As Kysely writes them. */
const BEGINS_TRANSACTION = /^(?:begin|start transaction)\b/;
const ENDS_TRANSACTION = /^(?:commit|rollback)$/;
const { INT8, NUMERIC } = types.builtins;

/** @throws RangeError for a number that a JavaScript number cannot hold */
function numberOf(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw new RangeError(`PostgreSQL gave the number ${text}, which is too big`);
  }
  return value;
}

const parsers: PoolConfig['types'] = {
  getTypeParser: (type, format) =>
    format !== 'binary' && (type === INT8 || type === NUMERIC)
      ? numberOf
      : types.getTypeParser(type, format),
};

function configOf(options: PostgresPoolOptions): PoolConfig {
  const { host, port, user, database, password, passwordFile, tls } = options;
  const read =
    passwordFile === undefined
      ? password
      : async () => (await readFile(passwordFile, 'utf8')).replace(/\r?\n$/, '');
  return {
    host,
    port,
    user,
    database,
    ...(read === undefined ? {} : { password: read }),
    ssl: tls ? { ...tls, rejectUnauthorized: true } : false,
    max: options.connections ?? POOL_SIZE,
    connectionTimeoutMillis: POOL_CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: POOL_IDLE_MS,
    statement_timeout: options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
    query_timeout: options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS,
    idle_in_transaction_session_timeout: options.transactionIdleMs ?? TRANSACTION_IDLE_MS,
    // What the transactions of the catalog count on, whatever the database has as default.
    options: '-c default_transaction_isolation=read\\ committed',
    application_name: 'flotilla-hub',
    keepAlive: true,
    types: parsers,
  };
}

/** One connection while a call has it. After an outage on it, it is closed instead of reused. */
class Lease implements PostgresPoolClient {
  readonly #client: PoolClient;
  readonly #outage: OutageLog | undefined;
  #lost: CatalogError | undefined;
  #transaction = false;

  constructor(client: PoolClient, outage: OutageLog | undefined) {
    this.#client = client;
    this.#outage = outage;
  }

  query<R>(text: string, values: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query(text: unknown, values: readonly unknown[] = []): unknown {
    if (typeof text !== 'string') throw new TypeError('cursors are not supported');
    return this.#run(text, values);
  }

  release(destroy = false): void {
    this.#client.release(destroy || this.#lost !== undefined);
  }

  async #run(text: string, values: readonly unknown[]): Promise<unknown> {
    // What comes after a lost connection, such as a ROLLBACK, must not wait for it.
    if (this.#lost !== undefined) throw this.#lost;
    const query = () => this.#client.query(text, [...values]);
    try {
      if (ENDS_TRANSACTION.test(text)) this.#transaction = false;
      else if (BEGINS_TRANSACTION.test(text)) this.#transaction = true;
      // A transaction is run again as a whole, by those who know what it does.
      const found = await (this.#transaction ? query() : retried(query));
      this.#outage?.worked();
      return found;
    } catch (err) {
      const fault = catalogFault(err);
      if (fault instanceof CatalogError) {
        this.#lost = fault;
        this.#outage?.failed(fault.message);
      }
      throw fault;
    }
  }
}

/**
 * Connections to PostgreSQL, made when they are needed. Outages are told as CatalogError
 * CATALOG_UNAVAILABLE; the next call tries again. 64-bit numbers come back as numbers.
 */
export function openPostgresPool(options: PostgresPoolOptions): PostgresPool {
  const pool = new Pool(configOf(options));
  // A connection that ends while nobody uses it is replaced; the call that uses it is told.
  pool.on('error', () => {});
  pool.on('connect', (client) => void client.on('error', () => {}));
  return {
    options: pool.options,
    connect: async () => {
      if (pool.waitingCount >= POOL_WAITING_MAX) {
        throw unavailable(new Error(`${POOL_WAITING_MAX} calls wait for a connection`));
      }
      try {
        return new Lease(await pool.connect(), options.outage);
      } catch (err) {
        const fault = unavailable(err);
        options.outage?.failed(fault.message);
        throw fault;
      }
    },
    end: () => pool.end(),
  };
}
