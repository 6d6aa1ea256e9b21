import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/** Programs that a test with real nodes starts. test/rig/install.sh installs them on Debian. */
const NODE_PROGRAMS = [
  'containerd',
  'ctr',
  'ip',
  'nsenter',
  'runc',
  'skopeo',
  'tc',
  'umoci',
] as const;

/** Where install.sh keeps what it unpacked instead of installing. */
const cacheFolder =
  process.env['FLOTILLA_TEST_CACHE'] ??
  path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'flotilla-test');
const unpackedFolders = ['oras', 'cosign'].map((name) =>
  path.join(cacheFolder, name, 'usr', 'bin'),
);

/** The absolute path of a program, or undefined when this machine does not have it. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', ...unpackedFolders];
  return folders.map((folder) => path.join(folder, name)).find(isExecutable);
}

/**
 * What a test with network namespaces lacks on this machine, as the reason it is skipped, or
 * false when it can run: the value node:test takes as `skip`.
 */
export function missingFor(...extraPrograms: string[]): string | false {
  if (process.platform !== 'linux') return 'needs Linux network namespaces';
  if (process.getuid?.() !== 0) return 'needs root, for network namespaces and containerd';
  const missing = [...NODE_PROGRAMS, ...extraPrograms].filter(
    (name) => findProgram(name) === undefined,
  );
  return missing.length > 0 && `needs ${missing.join(', ')}: see test/rig/install.sh`;
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
