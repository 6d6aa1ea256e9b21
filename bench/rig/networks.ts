import { findProgram } from '../../test/rig/requirements.ts';

const PROGRAMS = ['ip', 'nsenter', 'tc'];

/** Throws Error with one sentence unless this machine can have test networks. */
export function checkNetworks(...extraPrograms: string[]): void {
  if (process.platform !== 'linux') throw new Error('needs Linux network namespaces');
  if (process.getuid?.() !== 0) throw new Error('needs root, for network namespaces');
  const missing = [...PROGRAMS, ...extraPrograms].filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) throw new Error(`needs ${missing.join(', ')}: see test/rig/install.sh`);
}
