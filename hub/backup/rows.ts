import { isUtf8 } from 'node:buffer';
import type { TablePage, Value } from './store.ts';
import { ROW_MAX_BYTES, ROWS_HELD_BYTES, ROWS_HELD_MAX } from './constants.ts';
import { damaged } from './errors.ts';

// The catalog of a backup is text, one JSON value in a line:
//
//   {"flotilla":"catalog","format":1,"schema":7,...}    the first line
//   {"table":"tag","columns":["repository","name",...]} what the lines after it are
//   ["team/app","v1","sha256:..."]                      a row; bytes are {"base64":"..."}
//   {"rows":{"tag":1,...}}                              the last line
//
// so that it is the same for every database, and people can read it.

/** Version of the lines; others are not read. */
export const ROWS_FORMAT = 1;

/** The first line. */
export type RowsHead = {
  /** Version of the tables. */
  schema: number;
  fleetId: string;
  /** Of the root key, hex. */
  rootFingerprint: string;
  /** Of the program that wrote it. */
  build: string;
  /** RFC 3339. */
  time: string;
};

export type RowCounts = Record<string, number>;

/** The lines of a catalog. */
export async function* encodeRows(
  head: RowsHead,
  pages: AsyncIterable<TablePage>,
): AsyncGenerator<string> {
  yield line({ flotilla: 'catalog', format: ROWS_FORMAT, ...head });
  const counts: RowCounts = {};
  let current: string | undefined;
  for await (const { table, columns, rows } of pages) {
    if (table !== current) yield line({ table, columns });
    current = table;
    counts[table] = (counts[table] ?? 0) + rows.length;
    let text = '';
    for (const row of rows) {
      text += line(row.map(encoded));
      if (text.length < ROWS_HELD_BYTES) continue;
      yield text;
      text = '';
    }
    if (text !== '') yield text;
  }
  yield line({ rows: counts });
}

/**
 * Reads lines as they were written, from the first to the last, in any slices.
 * @throws BackupError BACKUP_FORMAT, BACKUP_DAMAGED for what is no such text or ends early
 */
export class RowReader {
  readonly #lines: AsyncGenerator<string>;
  #counts: RowCounts | undefined;

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#lines = linesOf(bytes);
  }

  /** Has to be called first. */
  async head(): Promise<RowsHead> {
    const first = await this.#lines.next();
    const head = first.done === true ? undefined : parsed(first.value);
    if (!isRecord(head) || head['flotilla'] !== 'catalog') throw damaged('it has no catalog');
    if (head['format'] !== ROWS_FORMAT) {
      throw damaged(`the catalog has format ${String(head['format'])}, not ${ROWS_FORMAT}`);
    }
    const { schema, fleetId, rootFingerprint, build, time } = head;
    if (
      typeof schema !== 'number' ||
      typeof fleetId !== 'string' ||
      typeof rootFingerprint !== 'string' ||
      typeof build !== 'string' ||
      typeof time !== 'string'
    ) {
      throw damaged('the first line of the catalog is not whole');
    }
    return { schema, fleetId, rootFingerprint, build, time };
  }

  /** The rows, in pages of few. */
  async *pages(): AsyncGenerator<TablePage> {
    const found: RowCounts = {};
    let page: { table: string; columns: string[]; rows: Value[][] } | undefined;
    let held = 0;
    for await (const text of this.#lines) {
      if (this.#counts !== undefined) throw damaged('the catalog goes on behind its last line');
      const value = parsed(text);
      if (Array.isArray(value)) {
        if (page === undefined || value.length !== page.columns.length) {
          throw damaged('a row of the catalog is not that of a table');
        }
        page.rows.push(value.map(decoded));
        found[page.table] = (found[page.table] ?? 0) + 1;
        held += text.length;
        if (page.rows.length < ROWS_HELD_MAX && held < ROWS_HELD_BYTES) continue;
        yield page;
        page = { ...page, rows: [] };
        held = 0;
        continue;
      }
      if (page !== undefined && page.rows.length > 0) yield page;
      held = 0;
      page = tableOf(value);
      if (page === undefined) this.#counts = countsOf(value);
      else found[page.table] ??= 0;
    }
    if (this.#counts === undefined) throw damaged('the catalog ends before its last line');
    assertEqual(this.#counts, found);
  }

  /** Rows of each table; known when the pages have been read. */
  get counts(): RowCounts {
    return this.#counts ?? {};
  }
}

function assertEqual(told: RowCounts, found: RowCounts): void {
  for (const table of new Set([...Object.keys(told), ...Object.keys(found)])) {
    if (told[table] === found[table]) continue;
    throw damaged(`the catalog has ${found[table]} of ${told[table]} rows of ${table}`);
  }
}

function tableOf(value: unknown): { table: string; columns: string[]; rows: [] } | undefined {
  if (!isRecord(value)) throw damaged('a line of the catalog is neither a row nor a table');
  const { table, columns } = value;
  if (typeof table !== 'string' || !Array.isArray(columns)) return undefined;
  const names = columns.filter((name) => typeof name === 'string');
  return { table, columns: names, rows: [] };
}

function countsOf(value: unknown): RowCounts {
  const counts = isRecord(value) ? value['rows'] : undefined;
  if (!isRecord(counts)) throw damaged('a line of the catalog is neither a row nor a table');
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, Number(count)]));
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

function encoded(value: Value): string | number | null | { base64: string } {
  if (!(value instanceof Uint8Array)) return value;
  const { buffer, byteOffset, byteLength } = value;
  return { base64: Buffer.from(buffer, byteOffset, byteLength).toString('base64') };
}

function decoded(value: unknown): Value {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  if (isRecord(value) && typeof value['base64'] === 'string') {
    return Buffer.from(value['base64'], 'base64');
  }
  throw damaged('a value of the catalog is none that a column holds');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw damaged('a line of the catalog is no JSON', cause);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Without the line feeds. What comes behind the last one is no line. */
async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let size = 0;
  for await (const slice of bytes) {
    const rest = Buffer.from(slice);
    let at = 0;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, at)) {
      parts.push(rest.subarray(at, end));
      const whole = Buffer.concat(parts);
      if (!isUtf8(whole)) throw damaged('a line of the catalog is no UTF-8');
      yield whole.toString();
      parts = [];
      size = 0;
      at = end + 1;
    }
    if (at === rest.length) continue;
    parts.push(rest.subarray(at));
    size += rest.length - at;
    if (size > ROW_MAX_BYTES) throw damaged('a line of the catalog is too long');
  }
  if (size > 0) throw damaged('the last line of the catalog is cut');
}
