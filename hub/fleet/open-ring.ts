import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from '../../proto/ops/logger.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { RING_SPREAD_MS } from './constants.ts';
import { KeysError } from './errors.ts';
import { KEY_RING_FILE, loadKeyRing, readKeyRing, saveKeyRing } from './key-files.ts';
import { KeyVault } from './key-vault.ts';
import { LiveRing, type RingHome } from './live-ring.ts';
import type { FleetConfig } from './options.ts';
import { readSealingKey, type SealingKey } from './sealing.ts';
import type { FleetStore } from './store.ts';

type RingOptions = {
  fleetId: string;
  /** Folder of the key files. */
  keysDir: string;
  keys: FleetConfig['keys'];
  /** Whether other hubs may have the same store. */
  shared: boolean;
  nowMs: number;
};

type RingModules = { store: FleetStore; logger: Logger };

const FLEET_ID_BYTES = 8;
const ROOT_SETTING = 'root-fingerprint';
const FINGERPRINT_SHOWN_CHARS = 12;

/**
 * The keys of the fleet: in the catalog when a key to encrypt them is given, in a file otherwise.
 * Whoever keeps them in a file brings them into the catalog with the first start under that key;
 * the file stays as it is. A root is of one fleet: the catalog tells which.
 * @throws KeysError; TrustError MALFORMED; errors of node:fs and of the store
 */
export async function openRing(options: RingOptions, modules: RingModules): Promise<LiveRing> {
  const { encryptionKeyFile, previousEncryptionKeyFile } = options.keys;
  if (encryptionKeyFile === undefined) return openFile(options, modules);
  const key = await readSealingKey(encryptionKeyFile);
  const previous = previousEncryptionKeyFile && (await readSealingKey(previousEncryptionKeyFile));
  return openVault(options, modules, { key, previous: previous || undefined });
}

async function openVault(
  { fleetId, keysDir, nowMs }: RingOptions,
  { store, logger }: RingModules,
  sealing: { key: SealingKey; previous: SealingKey | undefined },
): Promise<LiveRing> {
  const vault = new KeyVault({ fleetId, ...sealing }, { store });
  const file = await readKeyRing(keysDir);
  // Asked before the ring: another hub that begins now brings the ring first.
  const known = await fleetIn(store);
  if (await vault.isEmpty()) {
    if (file === undefined) checkNoFleet(keysDir, known);
    else await checkRoot(file, join(keysDir, KEY_RING_FILE), store);
  }
  const ring = await vault.open(() => file ?? KeyRing.create(nowMs), nowMs);
  await checkRoot(ring, 'the catalog', store);
  if (file !== undefined) {
    const same = file.fingerprint() === ring.fingerprint();
    const fields = { file: join(keysDir, KEY_RING_FILE), sameRoot: same };
    logger.warn(
      fields,
      'keys are read from the catalog: move this file to a safe place off this hub',
    );
  }
  return new LiveRing({ ring, spreadMs: RING_SPREAD_MS }, { home: vault });
}

async function openFile(
  { keysDir, shared, nowMs }: RingOptions,
  { store, logger }: RingModules,
): Promise<LiveRing> {
  if ((await store.sealedRing()) !== undefined) {
    throw new KeysError(
      'the keys of the fleet are in the catalog, encrypted; name the file of their key in ' +
        'fleet.keys.encryptionKeyFile, as at the other hubs',
      { code: 'KEYS_ELSEWHERE' },
    );
  }
  if ((await readKeyRing(keysDir)) === undefined) checkNoFleet(keysDir, await fleetIn(store));
  const ring = await loadKeyRing(keysDir, nowMs);
  await checkRoot(ring, join(keysDir, KEY_RING_FILE), store);
  if (shared) {
    logger.warn(
      { file: join(keysDir, KEY_RING_FILE) },
      'the keys are in a file of this hub: others that share the catalog do not see them change; ' +
        'set fleet.keys.encryptionKeyFile to keep them in the catalog',
    );
  }
  const change: RingHome['change'] = async (work, own) => {
    const next = KeyRing.fromPem(own.toPem());
    work(next);
    await saveKeyRing(keysDir, next);
    return next;
  };
  return new LiveRing({ ring, spreadMs: 0 }, { home: { change } });
}

/** The name of the fleet, made at its first start. */
export function fleetIdIn(store: Pick<FleetStore, 'settingOnce'>): Promise<string> {
  const fresh = `fleet-${randomBytes(FLEET_ID_BYTES).toString('hex')}`;
  return store.settingOnce('fleet-id', fresh);
}

type KnownFleet = { root: string | undefined; hasMembers: boolean };

async function fleetIn(store: FleetStore): Promise<KnownFleet> {
  const root = await store.setting(ROOT_SETTING);
  return { root, hasMembers: (await store.lastSerial()) > 0 };
}

/** New keys are for a new fleet only: agents of another would not believe them. */
function checkNoFleet(keysDir: string, { root, hasMembers }: KnownFleet): void {
  if (root === undefined && !hasMembers) return;
  throw new KeysError(
    `the catalog is of a fleet with keys${root === undefined ? '' : ` (root ${shown(root)})`}, ` +
      `and there are none in ${keysDir}: restore ${KEY_RING_FILE} there, or set ` +
      'fleet.keys.encryptionKeyFile at all hubs and start the one that has them first',
    { code: 'KEYS_ELSEWHERE' },
  );
}

/** The first root that a hub brings is that of the fleet. */
async function checkRoot(ring: KeyRing, where: string, store: FleetStore): Promise<void> {
  const own = ring.fingerprint();
  const root = await store.settingOnce(ROOT_SETTING, own);
  if (root === own) return;
  throw new KeysError(
    `the keys in ${where} (root ${shown(own)}) are not those of the fleet in the catalog ` +
      `(root ${shown(root)}): use another catalog for another fleet; for another hub of this ` +
      `one, set fleet.keys.encryptionKeyFile at all hubs, first at the one that has its keys`,
    { code: 'OTHER_ROOT' },
  );
}

function shown(fingerprint: string): string {
  return fingerprint.slice(0, FINGERPRINT_SHOWN_CHARS);
}
