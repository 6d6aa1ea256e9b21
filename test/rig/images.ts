import { createHash } from 'node:crypto';
import { copyFile, mkdir, open, readFile, rm, symlink } from 'node:fs/promises';
import path from 'node:path';
import { run } from './processes.ts';
import type { Scratch } from './scratch.ts';

const BUSYBOX = '/bin/busybox';
const BLOCK_BYTES = 1024 * 1024;
export const MIB = 1024 * 1024;

export type Layer = { digest: string; size: number };

/** An image as an OCI layout on disk, and what must be found again after a pull. */
export type Image = {
  layout: string;
  manifestDigest: string;
  config: Layer;
  layers: readonly Layer[];
  /** Sum of manifest, config and layers: one copy of the image on the wire. */
  bytes: number;
  /** SHA-256, as hex, of the random file of each layer, by its path in the container. */
  files: ReadonlyMap<string, string>;
};

/**
 * Makes an image of busybox and one layer of random bytes per given size, without any container
 * engine. It runs: /bin/busybox sh and the usual applets by name, and /pause sleeps for ever.
 */
export async function makeImage(
  scratch: Scratch,
  name: string,
  layerBytes: readonly number[],
): Promise<Image> {
  const folder = await scratch.make('images', name);
  const layout = path.join(folder, 'layout');
  const image = `${layout}:v1`;
  await run(['umoci', 'init', '--layout', layout]);
  await run(['umoci', 'new', '--image', image]);
  const base = path.join(folder, 'base');
  await mkdir(path.join(base, 'bin'), { recursive: true });
  await copyFile(BUSYBOX, path.join(base, 'bin', 'busybox'));
  for (const applet of ['sh', 'sleep', 'sha256sum', 'cat']) {
    await symlink('busybox', path.join(base, 'bin', applet));
  }
  await run(['umoci', 'insert', '--image', image, base, '/']);
  const files = new Map<string, string>();
  for (const [index, size] of layerBytes.entries()) {
    const data = path.join(folder, `data${index}`);
    await mkdir(data);
    const sha256 = await writeRandomFile(path.join(data, 'random'), size);
    await run(['umoci', 'insert', '--image', image, data, `/data${index}`]);
    files.set(`/data${index}/random`, sha256);
    await rm(data, { recursive: true });
  }
  const entrypoint = ['--config.entrypoint', '/bin/sleep', '--config.cmd', '1000000'];
  await run(['umoci', 'config', '--image', image, ...entrypoint]);
  return { layout, files, ...(await readLayout(layout)) };
}

async function writeRandomFile(file: string, size: number): Promise<string> {
  const hash = createHash('sha256');
  await using random = await open('/dev/urandom', 'r');
  await using target = await open(file, 'wx');
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let left = size; left > 0; left -= block.length) {
    const length = Math.min(left, block.length);
    await random.read(block, 0, length, null);
    hash.update(block.subarray(0, length));
    await target.write(block, 0, length);
  }
  return hash.digest('hex');
}

/** What an OCI layout with one image holds. */
export async function readLayout(
  layout: string,
): Promise<Pick<Image, 'manifestDigest' | 'config' | 'layers' | 'bytes'>> {
  const index = await readFile(path.join(layout, 'index.json'), 'utf8');
  const [entry] = descriptors(field(JSON.parse(index), 'manifests'));
  if (!entry) throw new Error(`${layout} has no manifest`);
  const blob = path.join(layout, 'blobs', ...entry.digest.split(':'));
  const manifest: unknown = JSON.parse(await readFile(blob, 'utf8'));
  const [config] = descriptors([field(manifest, 'config')]);
  if (!config) throw new Error(`${blob} has no config`);
  const layers = descriptors(field(manifest, 'layers'));
  const bytes = [entry, config, ...layers].reduce((sum, each) => sum + each.size, 0);
  return { manifestDigest: entry.digest, config, layers, bytes };
}

function descriptors(value: unknown): Layer[] {
  if (!Array.isArray(value)) throw new Error('not a list of descriptors');
  return value.map((each: unknown) => ({
    digest: String(field(each, 'digest')),
    size: Number(field(each, 'size')),
  }));
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) throw new Error(`no ${name}: not an object`);
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}
