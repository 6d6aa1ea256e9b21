import type { Import } from './imports.ts';
import { isProduct } from './source-files.ts';

/** A rule about who may import whom. `breaks` is true for an import that is not allowed. */
export type LayerRule = { why: string; breaks(entry: Import): boolean };

const ROOTS = [
  'hub/hub.ts',
  'hub/check/check-hub.ts',
  'hub/backup/restore-hub.ts',
  'agent/agent.ts',
];

/** What a file of `from` must not import. Tests may reach further inside their own side. */
function deny(from: RegExp, to: RegExp, why: string): LayerRule {
  return {
    why,
    breaks: ({ file, target }) => isProduct(file) && from.test(file) && to.test(target),
  };
}

/** Packages (or folders) that only some product files may touch. */
function only(where: RegExp, to: RegExp, why: string): LayerRule {
  return {
    why,
    breaks: ({ file, target, type }) =>
      isProduct(file) && !type && to.test(target) && !where.test(file),
  };
}

export const LAYER_RULES: readonly LayerRule[] = [
  deny(/^proto\//, /^(hub|agent|bin|test|bench)\//, 'proto imports none of ours'),
  deny(/^hub\//, /^(agent|bin|test|bench)\//, 'hub imports proto and itself only'),
  deny(/^agent\//, /^(hub|bin|test|bench)\//, 'agent imports proto and itself only'),
  deny(/^bin\//, /^(test|bench)\//, 'the program needs no test or bench'),
  deny(/^proto\/std\//, /^proto\/(?!std\/)/, 'std imports no other room'),
  deny(/^proto\/(oci|chunks|trust)\//, /^(undici|proto\/(distribution|ops))/, 'formats do no I/O'),
  only(
    /^(agent\/|proto\/swarm\/)/,
    /^(libp2p|@libp2p\/|@chainsafe\/)/,
    'libp2p lives in the agent',
  ),
  only(
    /^(hub\/(catalog\/|hub\.ts)|proto\/ops\/folder-lock|agent\/store\/index-file)/,
    /^(kysely|node:sqlite|pg)$/,
    'the databases are behind the catalog and the index of the store',
  ),
  only(/^hub\/blobs\/s3\//, /^@aws-sdk\//, 'the bucket is behind the store of blobs'),
  only(/^(hub|agent)\//, /^fastify$/, 'proto serves no HTTP but the ops endpoints'),
  {
    why: 'only a composition root starts programs; nothing but bin and tests imports a root',
    breaks: ({ file, target }) =>
      isProduct(file) && !file.startsWith('bin/') && ROOTS.includes(target),
  },
];
