import { readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.join(import.meta.dirname, '..', '..');

/** What package.json declares. */
export type Manifest = {
  name: string;
  version: string;
  license?: string;
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  allowScripts: Record<string, boolean>;
};

/** One package of package-lock.json, under its folder. */
export type LockedPackage = {
  version: string;
  license?: string;
  integrity?: string;
  dev?: boolean;
  optional?: boolean;
  devOptional?: boolean;
  hasInstallScript?: boolean;
  inBundle?: boolean;
};

type LockFile = {
  lockfileVersion: number;
  packages: Record<string, LockedPackage & Partial<Manifest>>;
};

export function readManifest(): Manifest {
  const manifest: Manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  return manifest;
}

export function readLock(file = 'package-lock.json'): LockFile {
  const lock: LockFile = JSON.parse(readFileSync(path.join(ROOT, file), 'utf8'));
  return lock;
}

/** Folder and entry of every locked package; the project itself is left out. */
export function lockedPackages(): [folder: string, entry: LockedPackage][] {
  return Object.entries(readLock().packages).filter(([folder]) => folder !== '');
}

/** `node_modules/a/node_modules/@b/c` -> `@b/c`. */
export function nameOf(folder: string): string {
  return folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);
}
