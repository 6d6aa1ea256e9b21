import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { hasCode } from '../../proto/std/errors.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import type { KeyPurpose } from '../../proto/trust/keys.ts';
import { KEY_RING_FILE } from '../fleet/key-files.ts';
import { KeyVault } from '../fleet/key-vault.ts';
import { fleetIdIn } from '../fleet/open-ring.ts';
import { readSealingKey, unseal } from '../fleet/sealing.ts';
import type { FleetStore } from '../fleet/store.ts';
import { KEY_SERIAL_GAP } from './constants.ts';
import { BackupError } from './errors.ts';
import type { BackupFolder } from './folder.ts';
import type { BackupManifest } from './manifest.ts';
import type { RightsPolicy } from './restored-rights.ts';
import { RowReader } from './rows.ts';

/** Replaced by every restore: what these keys sign lives for minutes, so nobody misses it. */
const SHORT_PURPOSES: readonly KeyPurpose[] = ['token', 'replica'];
/** What ended keys signed that must not be good again, though it did not end by itself yet. */
const LOCKED_PURPOSES: readonly KeyPurpose[] = [...SHORT_PURPOSES, 'membership', 'grant', 'tag'];

export type RingSource = 'given' | 'catalog' | 'data folder' | 'backup' | 'new';

/** The ring that the restored hub goes on with. */
export async function findRing(
  options: {
    keysDir: string;
    given: string | undefined;
    newKeys: boolean;
    /** Files of keys that the ring in the catalog may be encrypted under. */
    sealedWith: readonly string[];
  },
  { folder, manifest }: { folder: BackupFolder; manifest: BackupManifest },
): Promise<{ ring: KeyRing; source: RingSource }> {
  const { keysDir, given, newKeys } = options;
  const { rootFingerprint: fingerprint, keys } = manifest;
  const file = path.join(keysDir, KEY_RING_FILE);
  const own = given === undefined ? await textOf(file) : undefined;
  if (newKeys) {
    if (own === undefined) return { ring: KeyRing.create(Date.now()), source: 'new' };
    throw new BackupError(`there are keys in ${file}: move them away, or use them`, {
      code: 'TARGET_NOT_EMPTY',
      folder: keysDir,
    });
  }
  const backup = keys === undefined ? undefined : await folder.readText(keys.file);
  const sealed = await sealedIn({ folder, manifest }, options.sealedWith);
  const text = given ?? sealed ?? own ?? backup;
  if (text === undefined) {
    throw new BackupError(
      `the keys of the fleet are not in the backup: give the ring with root ${fingerprint} with ` +
        '--keys FILE, or begin a fleet with new keys, which every node has to join again, with ' +
        '--new-keys',
      { code: 'KEYS_MISSING', fingerprint },
    );
  }
  const ring = KeyRing.fromPem(text);
  const found = ring.fingerprint();
  if (found !== fingerprint) {
    throw new BackupError(
      `the key ring has the root ${found}, the backup is of a hub with ${fingerprint}; ` +
        'give the right one with --keys FILE',
      { code: 'KEYS_OTHER', found, fingerprint },
    );
  }
  return { ring, source: given !== undefined ? 'given' : sourceOf(sealed, own) };
}

function sourceOf(sealed: string | undefined, own: string | undefined): RingSource {
  if (sealed !== undefined) return 'catalog';
  return own === undefined ? 'backup' : 'data folder';
}

/** The ring that the catalog has, encrypted, when there is a key for it. */
async function sealedIn(
  { folder, manifest }: { folder: BackupFolder; manifest: BackupManifest },
  files: readonly string[],
): Promise<string | undefined> {
  if (files.length === 0) return undefined;
  const keys = await Promise.all(files.map(readSealingKey));
  const reader = new RowReader(folder.read(manifest.catalog.file));
  await reader.head();
  for await (const { table, columns, rows } of reader.pages()) {
    if (table !== 'fleet_key_ring') continue;
    const [row] = rows;
    if (row === undefined) return undefined;
    const at = (name: string) => row[columns.indexOf(name)];
    const key = keys.find(({ id }) => id === at('sealed_with'));
    if (key === undefined) return undefined;
    const place = { fleetId: manifest.fleetId, serial: Number(at('serial')) };
    return unseal(String(at('sealed')), key, place);
  }
  return undefined;
}

/**
 * Lets a ring begin a new time: tokens and calls between hubs of the time before are refused and,
 * when rights are locked, memberships and grants too. Of a ring that may be old nothing is good
 * that it signed.
 */
export function restartRing(
  { ring, source }: { ring: KeyRing; source: RingSource },
  { policy, nowMs, backupMs }: { policy: RightsPolicy; nowMs: number; backupMs: number },
): void {
  if (source === 'new') return;
  const gap = KEY_SERIAL_GAP + Math.max(0, Math.floor((nowMs - backupMs) / 1000));
  const old: readonly KeyPurpose[] = ['backup', 'catalog'].includes(source) ? ['statement'] : [];
  const purposes: readonly KeyPurpose[] =
    policy === 'kept' ? SHORT_PURPOSES : [...LOCKED_PURPOSES, ...old];
  ring.restart(purposes, { gap, nowMs });
}

/**
 * Puts the ring into the catalog, encrypted under the key in that file, as a hub does that has it.
 * @throws KeysError; errors of the catalog
 */
export async function sealRing(
  ring: KeyRing,
  encryptionKeyFile: string,
  store: FleetStore,
): Promise<void> {
  const key = await readSealingKey(encryptionKeyFile);
  const fleetId = await fleetIdIn(store);
  const vault = new KeyVault({ fleetId, key, previous: undefined }, { store });
  await vault.open(() => ring, Date.now());
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}
