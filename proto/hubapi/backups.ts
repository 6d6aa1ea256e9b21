import { Type, type Static } from 'typebox';
import { API_BASE } from './admin.ts';

/** Where backups are made, below them one that is being made, by its id. */
export const BACKUPS_PATH = `${API_BASE}/backups`;
/** Media type of the rows of a catalog. */
export const ROWS_TYPE = 'application/x-ndjson';

/** A backup that is being made: until then no blob that it may want is removed. */
export const BackupHold = Type.Object({
  id: Type.String({ minLength: 1, maxLength: 64 }),
  until: Type.String({ description: 'RFC 3339' }),
});
export type BackupHold = Static<typeof BackupHold>;
