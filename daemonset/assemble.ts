/**
 * Lays out the files of the container image: what runs in production and nothing else.
 * usage: node daemonset/assemble.ts CHECKOUT TARGET [REVISION]
 *
 * TARGET/opt/flotilla/            bin, proto, hub, agent, package.json, package-lock.json
 * TARGET/opt/flotilla/node_modules  the packages the lock file does not mark as development
 * TARGET/usr/local/bin/node       the pinned Node.js of the checkout
 * TARGET/var/lib/flotilla         empty, owned by the user of the image; and so is
 * TARGET/opt/flotilla/node_modules/.cache/flotilla, for compiled code
 */
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

type Lock = { packages: Record<string, { dev?: boolean }> };

const SOURCES = ['bin', 'proto', 'hub', 'agent', 'package.json', 'package-lock.json', 'LICENSE'];
/** Not needed at run time: tests, types, source maps, sources of compiled packages. */
const LEFT_OUT = /\.test\.ts$|\.d\.[mc]?ts$|\.map$|\.tsbuildinfo$/;
const USER_ID = 65_532;
const DATA_MODE = 0o700;
const EXECUTABLE = 0o111;

function assemble(checkout: string, target: string, revision: string): void {
  const program = path.join(target, 'opt', 'flotilla');
  for (const name of SOURCES) copy(path.join(checkout, name), path.join(program, name));
  writeFileSync(path.join(program, 'revision'), `${revision}\n`);
  const lock: Lock = JSON.parse(readFileSync(path.join(checkout, 'package-lock.json'), 'utf8'));
  for (const [folder, entry] of Object.entries(lock.packages)) {
    const nested = folder.indexOf('/node_modules/', 1) !== -1;
    const from = path.join(checkout, folder);
    if (folder === '' || nested || entry.dev === true || !existsSync(from)) continue;
    copy(from, path.join(program, folder));
  }
  const node = path.join(target, 'usr', 'local', 'bin', 'node');
  mkdirSync(path.dirname(node), { recursive: true });
  cpSync(path.join(checkout, 'node_modules', 'node', 'bin', 'node'), node, { dereference: true });
  makeReadable(target);
  const cache = path.join(program, 'node_modules', '.cache', 'flotilla');
  for (const folder of [path.join(target, 'var', 'lib', 'flotilla'), cache]) {
    mkdirSync(folder, { recursive: true });
    chownSync(folder, USER_ID, USER_ID);
    chmodSync(folder, DATA_MODE);
  }
}

/** Readable by everyone, writable by root alone, whatever the umask of the checkout was. */
function makeReadable(target: string): void {
  for (const entry of globSync('**/*', { cwd: target, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const executable = entry.isDirectory() || (statSync(file).mode & EXECUTABLE) !== 0;
    chmodSync(file, executable ? 0o755 : 0o644);
  }
}

/** Copies a file or a folder; the packages inside a package come with it. */
function copy(from: string, to: string): void {
  cpSync(from, to, { recursive: true, filter: (name) => !LEFT_OUT.test(name) });
}

const [checkout, target, revision = 'unknown'] = process.argv.slice(2);
if (checkout === undefined || target === undefined) {
  process.stderr.write('usage: node daemonset/assemble.ts CHECKOUT TARGET [REVISION]\n');
  process.exitCode = 2;
} else {
  assemble(checkout, target, revision);
}
