/** Number of the schema; an index of another number is made anew from the folders. */
export const INDEX_VERSION = 1;

/**
 * One row for each thing held. `bytes` is what is promised, `held` what is there and verified,
 * `used` the last read in microseconds, `checked` the last time all of it was hashed, in ms.
 * `known` 0: found by its folder only, its facts were not read yet. `leaving` 1: its files are
 * being deleted. Totals are kept by triggers, so that nothing is counted at the start.
 */
export const INDEX_SCHEMA = `
CREATE TABLE entry (
  digest TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  held INTEGER NOT NULL,
  used INTEGER NOT NULL,
  checked INTEGER NOT NULL,
  place TEXT NOT NULL,
  servable INTEGER NOT NULL,
  pinned INTEGER NOT NULL,
  known INTEGER NOT NULL,
  leaving INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX entry_victims ON entry (used) WHERE pinned = 0 AND leaving = 0;
CREATE INDEX entry_listed ON entry (used) WHERE servable = 1 AND leaving = 0;
CREATE INDEX entry_used ON entry (used);
CREATE INDEX entry_checked ON entry (checked);
CREATE INDEX entry_unknown ON entry (used) WHERE known = 0;
CREATE INDEX entry_leaving ON entry (used) WHERE leaving = 1;
CREATE INDEX entry_node ON entry (digest) WHERE kind = 'node';
CREATE TABLE totals (
  entries INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  held INTEGER NOT NULL,
  pinned INTEGER NOT NULL
) STRICT;
INSERT INTO totals VALUES (0, 0, 0, 0);
CREATE TRIGGER entry_added AFTER INSERT ON entry WHEN NEW.leaving = 0 BEGIN
  UPDATE totals SET entries = entries + 1, bytes = bytes + NEW.bytes, held = held + NEW.held,
    pinned = pinned + NEW.pinned * NEW.bytes;
END;
CREATE TRIGGER entry_removed AFTER DELETE ON entry WHEN OLD.leaving = 0 BEGIN
  UPDATE totals SET entries = entries - 1, bytes = bytes - OLD.bytes, held = held - OLD.held,
    pinned = pinned - OLD.pinned * OLD.bytes;
END;
CREATE TRIGGER entry_changed AFTER UPDATE OF bytes, held, pinned, leaving ON entry BEGIN
  UPDATE totals SET
    entries = entries + OLD.leaving - NEW.leaving,
    bytes = bytes + NEW.bytes * (1 - NEW.leaving) - OLD.bytes * (1 - OLD.leaving),
    held = held + NEW.held * (1 - NEW.leaving) - OLD.held * (1 - OLD.leaving),
    pinned = pinned + NEW.pinned * NEW.bytes * (1 - NEW.leaving)
      - OLD.pinned * OLD.bytes * (1 - OLD.leaving);
END;
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
PRAGMA user_version = ${INDEX_VERSION};
`;

const COLUMNS = 'digest, kind, bytes, held, used, checked, place, servable, pinned, known, leaving';

/** Every question to the index. */
export const INDEX_SQL = {
  get: `SELECT ${COLUMNS} FROM entry WHERE digest = ?`,
  put: `INSERT INTO entry (digest, kind, bytes, held, used, checked, place, servable, pinned, known)
    VALUES (:digest, :kind, :bytes, :held, :used, :checked, :place, :servable, :pinned, :known)
    ON CONFLICT (digest) DO UPDATE SET kind = :kind, bytes = :bytes, held = :held, used = :used,
    checked = :checked, place = iif(pinned > :pinned, place, :place), servable = :servable,
    pinned = max(pinned, :pinned), known = :known, leaving = 0`,
  meet: `INSERT INTO entry
      (digest, kind, bytes, held, used, checked, place, servable, pinned, known)
    VALUES (:digest, :kind, :bytes, :held, :used, :checked, :place, :servable, :pinned, :known)
    ON CONFLICT (digest) DO NOTHING`,
  forget: 'DELETE FROM entry WHERE digest = ?',
  leave: 'UPDATE entry SET leaving = 1 WHERE digest = ?',
  use: 'UPDATE entry SET used = max(used, ?) WHERE digest = ?',
  hold: 'UPDATE entry SET held = ? WHERE digest = ? AND held <> ?',
  check: 'UPDATE entry SET checked = ? WHERE digest = ?',
  lowerChecks: 'UPDATE entry SET checked = :now WHERE checked > :now',
  claim: 'UPDATE entry SET place = ?, pinned = 1 WHERE digest = ?',
  repin: `UPDATE entry SET pinned = digest IN (SELECT value FROM json_each(:digests))
    OR place IN (SELECT value FROM json_each(:places))`,
  totals: 'SELECT entries, bytes, held, pinned FROM totals',
  newest: 'SELECT max(used) AS used FROM entry',
  victims: `SELECT ${COLUMNS} FROM entry WHERE pinned = 0 AND leaving = 0 ORDER BY used`,
  listed: `SELECT ${COLUMNS} FROM entry WHERE servable = 1 AND leaving = 0
    ORDER BY used DESC LIMIT ?`,
  due: `SELECT ${COLUMNS} FROM entry WHERE checked <= ? ORDER BY checked LIMIT ?`,
  oldestCheck: 'SELECT min(checked) AS checked FROM entry',
  unknown: `SELECT ${COLUMNS} FROM entry WHERE known = 0 ORDER BY used DESC LIMIT ?`,
  leaving: `SELECT ${COLUMNS} FROM entry WHERE leaving = 1 LIMIT ?`,
  nodes: `SELECT ${COLUMNS} FROM entry WHERE kind = 'node' AND digest > ?
    ORDER BY digest LIMIT ?`,
  getState: 'SELECT value FROM state WHERE key = ?',
  setState: `INSERT INTO state (key, value) VALUES (?, ?)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
} as const;
