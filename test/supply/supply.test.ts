import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT, lockedPackages, nameOf, readLock, readManifest } from './lock-file.ts';

const SBOM_TIMEOUT_MS = 60_000;
const PERMISSIVE = new Set([
  'MIT',
  'MIT-0',
  'Apache-2.0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'Python-2.0',
  'Unlicense',
]);
/** Two copies of one of these in a process do not know each other's objects. */
const SINGLE = [
  '@libp2p/interface',
  '@multiformats/multiaddr',
  'multiformats',
  'protons-runtime',
  'uint8arraylist',
  'uint8arrays',
];

type BillEntry = {
  name: string;
  version: string;
  properties?: { name: string; value: string }[];
};
type Bill = { bomFormat: string; components: BillEntry[] };

function isForDevelopment(entry: BillEntry): boolean {
  const flag = entry.properties?.find(({ name }) => name === 'cdx:npm:package:development');
  return flag?.value === 'true';
}

test('the lock file is in sync with package.json and every version is exact', () => {
  const manifest = readManifest();
  const root = readLock().packages[''];
  assert.deepEqual(root?.dependencies, manifest.dependencies);
  assert.deepEqual(root?.optionalDependencies, manifest.optionalDependencies);
  assert.deepEqual(root?.devDependencies, manifest.devDependencies);
  const { dependencies, optionalDependencies, devDependencies } = manifest;
  const all = { ...dependencies, ...optionalDependencies, ...devDependencies };
  for (const [name, version] of Object.entries(all)) {
    assert.match(version, /^\d+\.\d+\.\d+$/, `${name} is not pinned`);
    assert.equal(readLock().packages[`node_modules/${name}`]?.version, version, name);
  }
});

test('what is installed is what the lock file says', () => {
  const locked = new Map(lockedPackages());
  const installed = Object.entries(readLock('node_modules/.package-lock.json').packages);
  assert.ok(installed.length > 0);
  for (const [folder, entry] of installed) {
    assert.equal(entry.version, locked.get(folder)?.version, `${folder}: run npm ci`);
  }
});

test('every locked package has an integrity hash and no address of a registry', () => {
  const text = readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8');
  assert.ok(!text.includes('"resolved"'), 'the lock file names where packages came from');
  // Tools for other platforms are named so that `npm ci` finds the lock file whole; the registry
  // the lock was made with does not hold them, so their hashes are unknown.
  const bare = lockedPackages().filter(
    ([folder, entry]) =>
      entry.integrity === undefined &&
      !(entry.optional === true && entry.dev === true && !existsSync(path.join(ROOT, folder))),
  );
  assert.deepEqual(
    bare.filter(([, entry]) => entry.inBundle !== true).map(([folder]) => folder),
    [],
  );
});

test('no package runs a script at install, but the one that places the pinned Node.js', () => {
  const { allowScripts } = readManifest();
  const withScripts = lockedPackages()
    .filter(([, entry]) => entry.hasInstallScript === true)
    .map(([folder]) => nameOf(folder));
  for (const name of withScripts) {
    assert.ok(Object.hasOwn(allowScripts, name), `${name} has an install script nobody judged`);
  }
  const allowed = Object.entries(allowScripts).filter(([, allow]) => allow);
  assert.deepEqual(allowed, [['node', true]]);
});

test('every package has a permissive licence', () => {
  const refused = lockedPackages()
    .map(([folder, entry]) => ({ folder, licence: licenceOf(folder, entry.license) }))
    .filter(({ licence }) => !isPermissive(licence))
    .map(({ folder, licence }) => `${folder}: ${licence}`);
  assert.deepEqual(refused, []);
});

test('the bill of materials lists what ships, and marks what only builds and tests', () => {
  // Not with --omit dev: npm then leaves out packages that ship when a tool needs them as well.
  const text = execFileSync('npm', ['sbom', '--sbom-format', 'cyclonedx'], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: SBOM_TIMEOUT_MS,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const bill: Bill = JSON.parse(text);
  assert.equal(bill.bomFormat, 'CycloneDX');
  const listed = new Map(bill.components.map((entry) => [`${entry.name}@${entry.version}`, entry]));
  const { dependencies, devDependencies } = readManifest();
  for (const [name, version] of Object.entries(dependencies)) {
    const entry = listed.get(`${name}@${version}`);
    assert.ok(entry !== undefined, `${name}@${version} is missing from the bill`);
    assert.ok(!isForDevelopment(entry), `${name} ships`);
  }
  for (const [name, version] of Object.entries(devDependencies)) {
    const entry = listed.get(`${name}@${version}`);
    assert.ok(entry === undefined || isForDevelopment(entry), `${name} does not ship`);
  }
});

test('there is one copy of the packages whose objects cross package borders', () => {
  const folders = lockedPackages().map(([folder]) => folder);
  for (const name of SINGLE) {
    const copies = folders.filter((folder) => nameOf(folder) === name);
    assert.deepEqual(copies, [`node_modules/${name}`]);
  }
});

/** The licence of the lock file, else of the installed package. */
function licenceOf(folder: string, locked: string | undefined): string {
  if (locked !== undefined) return locked;
  const file = path.join(ROOT, folder, 'package.json');
  if (!existsSync(file)) return 'unknown';
  const manifest: { license?: unknown } = JSON.parse(readFileSync(file, 'utf8'));
  return typeof manifest.license === 'string' ? manifest.license : 'unknown';
}

/** Reads `MIT`, `(MIT OR GPL-3.0)`, `MIT AND ISC`; nothing nested occurs. */
function isPermissive(licence: string): boolean {
  return licence
    .replaceAll(/[()]/g, '')
    .split(' OR ')
    .some((choice) => choice.split(' AND ').every((part) => PERMISSIVE.has(part.trim())));
}
