import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What runs: shown by `flotilla version`, in the build_info metric and in log lines at start. */
export type BuildInfo = {
  version: string;
  /** Source revision, twelve hex digits, or `unknown`. */
  revision: string;
  node: string;
  v8: string;
  platform: string;
};

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const REVISION_CHARS = 12;

/** Reads version and revision of this checkout or image. Never throws for a missing revision. */
export function readBuildInfo(root: string = ROOT): BuildInfo {
  const text = readFileSync(`${root}package.json`, 'utf8');
  const manifest: { version: string } = JSON.parse(text);
  return {
    version: manifest.version,
    revision: readRevision(root),
    node: process.versions.node,
    v8: process.versions.v8,
    platform: `${process.platform}-${process.arch}`,
  };
}

/** An image carries a file `revision`; a checkout has the commit that HEAD names. */
function readRevision(root: string): string {
  const head = readText(`${root}revision`) ?? readText(`${root}.git/HEAD`);
  const ref = head === undefined ? undefined : /^ref: (refs\/[\w./-]+)$/.exec(head)?.[1];
  const id = ref === undefined ? head : (readText(`${root}.git/${ref}`) ?? packedRef(root, ref));
  return id !== undefined && /^[0-9a-f]{7,64}$/.test(id) ? id.slice(0, REVISION_CHARS) : 'unknown';
}

function packedRef(root: string, ref: string): string | undefined {
  const line = readText(`${root}.git/packed-refs`)
    ?.split('\n')
    .find((entry) => entry.endsWith(` ${ref}`));
  return line?.split(' ', 1)[0];
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
