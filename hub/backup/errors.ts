import { CodedError } from '../../proto/std/errors.ts';

type BackupProblem =
  /** There is none, or it was not finished. */
  | { code: 'BACKUP_MISSING'; folder: string }
  | { code: 'BACKUP_UNFINISHED'; folder: string }
  | { code: 'BACKUP_FORMAT'; found: unknown }
  | { code: 'BACKUP_DAMAGED'; what: string }
  /** The folder that is to be written has something in it. */
  | { code: 'TARGET_NOT_EMPTY'; folder: string }
  | { code: 'BACKUP_INTERRUPTED' }
  /** The hub that is asked cannot read the blobs of its catalog. */
  | { code: 'BLOBS_ELSEWHERE' }
  /** The folder has a part of a backup. */
  | { code: 'RESTORE_UNFINISHED'; folder: string }
  | { code: 'KEYS_MISSING'; fingerprint: string }
  | { code: 'KEYS_OTHER'; found: string; fingerprint: string }
  | { code: 'FLEET_OTHER'; found: string; fleetId: string }
  | { code: 'RIGHTS_OLDER' };

/** Why there is no backup, or why it cannot be used. */
export class BackupError extends CodedError<BackupProblem> {
  override readonly name = 'BackupError';
}

export function damaged(what: string, cause?: unknown): BackupError {
  const options = cause === undefined ? {} : { cause };
  return new BackupError(
    `the backup is damaged: ${what}`,
    { code: 'BACKUP_DAMAGED', what },
    options,
  );
}
