import {
  ColumnDefinitionNode,
  PostgresDialect,
  PostgresQueryCompiler,
  type DataTypeNode,
  type QueryCompiler,
} from 'kysely';
import { openPostgresPool, type PostgresPoolOptions } from './postgres-pool.ts';

/**
 * Migrations are written once, in the names SQLite uses: a `blob` is a `bytea` here, and text is
 * compared by bytes whatever the language of the database, as SQLite does.
 */
class CatalogQueryCompiler extends PostgresQueryCompiler {
  protected override visitDataType(node: DataTypeNode): void {
    const column = this.parentNode !== undefined && ColumnDefinitionNode.is(this.parentNode);
    if (node.dataType === 'blob') this.append('bytea');
    else if (node.dataType === 'text' && column) this.append('text collate "C"');
    else super.visitDataType(node);
  }
}

class CatalogPostgresDialect extends PostgresDialect {
  override createQueryCompiler(): QueryCompiler {
    return new CatalogQueryCompiler();
  }
}

/** The dialect of a catalog in PostgreSQL; nothing is connected before the first call. */
export function postgresDialect(options: PostgresPoolOptions): PostgresDialect {
  return new CatalogPostgresDialect({ pool: openPostgresPool(options) });
}
