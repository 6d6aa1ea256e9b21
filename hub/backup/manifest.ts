import { createHash } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { checkBody } from '../../proto/hubapi/body.ts';
import { BackupError, damaged } from './errors.ts';

/** Version of what a backup looks like; others are not read. */
export const BACKUP_FORMAT = 1;

const Count = Type.Integer({ minimum: 0 });
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Digests = Type.Array(
  Type.String({ pattern: '^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$' }),
);

/** What `backup.json` says. It is written last: where there is one, the backup is whole. */
export const BackupManifest = Type.Object({
  kind: Type.Literal('flotilla-backup'),
  format: Type.Literal(BACKUP_FORMAT),
  /** RFC 3339: the moment that the catalog is of, and the end of the copying. */
  time: Type.String(),
  finished: Type.String(),
  /** Program of the hub. */
  build: Type.String(),
  /** Version of the tables. */
  schema: Count,
  fleetId: Type.String(),
  rootFingerprint: Type.String(),
  catalog: Type.Object({
    file: Type.String({ pattern: '^catalog-[0-9a-f]+\\.ndjson$' }),
    bytes: Count,
    sha256: Sha256,
    rows: Type.Record(Type.String(), Count),
  }),
  /** What was taken down while the backup was made: the catalog has it, and it must not be back. */
  withdrawn: Digests,
  /** Absent: only the catalog was asked for. */
  blobs: Type.Optional(
    Type.Object({
      count: Count,
      bytes: Count,
      /** Of the catalog, but the hub had lost them. */
      missing: Digests,
    }),
  ),
  /** Private keys of the fleet, when they were asked for. */
  keys: Type.Optional(
    Type.Object({ file: Type.String({ pattern: '^key-ring-[0-9a-f]+\\.pem$' }), sha256: Sha256 }),
  ),
});
export type BackupManifest = Static<typeof BackupManifest>;

/** The text of a file that says this, and by which a change of any of it is noticed. */
export function formatManifest(manifest: BackupManifest): string {
  const sha256 = sumOf(manifest);
  return `${JSON.stringify({ ...manifest, sha256 }, undefined, 2)}\n`;
}

/**
 * Reads such a text.
 * @throws BackupError BACKUP_FORMAT for another version, BACKUP_DAMAGED
 */
export function parseManifest(text: string): BackupManifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged('backup.json is no JSON', cause);
  }
  if (!isObject(value) || value['kind'] !== 'flotilla-backup') {
    throw damaged('backup.json describes no backup');
  }
  const { sha256, ...rest } = value;
  const { format } = rest;
  if (format !== BACKUP_FORMAT) {
    throw new BackupError(
      `the backup has format ${String(format)}, this program reads ${BACKUP_FORMAT}; ` +
        'use the program that wrote it or a newer one',
      { code: 'BACKUP_FORMAT', found: format },
    );
  }
  if (sha256 !== sumOf(rest)) throw damaged('backup.json was changed');
  const manifest = checkedManifest(rest);
  // What a restore issues next is counted from here.
  if (Date.parse(manifest.time) >= 0) return manifest;
  throw damaged(`backup.json is of no moment: ${manifest.time}`);
}

function checkedManifest(value: object): BackupManifest {
  try {
    return checkBody(BackupManifest, value);
  } catch (cause) {
    throw damaged('backup.json lacks something', cause);
  }
}

function sumOf(manifest: object): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
