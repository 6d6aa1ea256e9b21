/** What a column of a row can hold. */
export type Value = string | number | null | Uint8Array;

/** Rows of one table; each has a value for every column. */
export type TablePage = {
  table: string;
  columns: readonly string[];
  rows: readonly (readonly Value[])[];
};

/** The catalog as it was at one moment, while hubs go on changing it. */
export interface CatalogSnapshot extends AsyncDisposable {
  /** Version of its tables. */
  readonly schema: number;
  /**
   * All that a backup holds, table by table and by key; the first page of a table may be empty.
   * Memory does not follow the number of rows.
   * @throws CatalogError CATALOG_UNAVAILABLE
   */
  pages(): AsyncIterable<TablePage>;
}
