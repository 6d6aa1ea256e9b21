import { join } from 'node:path';
import { digestAlgorithm, digestBytes, isDigest } from '../../proto/oci/digest.ts';
import type { Digest } from '../../proto/oci/digest.ts';

export const CHUNKED = 'blobs';
export const SMALL = 'small';
/** Facts about blobs whose bytes another program of this node keeps. */
export const NODE = 'node';
export const TEMPORARY = 'tmp';
export const INDEX_FILE = 'index.sqlite';

export const DATA_FILE = 'data';
export const META_FILE = 'meta';
export const BITMAP_FILE = 'have';

/** Where things lie under the data folder; every path is built from the bytes of a digest. */
export class BlobPaths {
  readonly root: string;
  #next = 1;

  constructor(root: string) {
    this.root = root;
  }

  /** Folder of a chunked blob. */
  chunked(digest: Digest): string {
    return join(this.root, CHUNKED, ...shard(digest));
  }

  /** File of a small blob. */
  small(digest: Digest): string {
    return join(this.root, SMALL, ...shard(digest));
  }

  /** File of the facts about a blob that another program keeps. */
  node(digest: Digest): string {
    return join(this.root, NODE, ...shard(digest));
  }

  /** File or folder of an entry. */
  of(kind: 'small' | 'chunked' | 'node', digest: Digest): string {
    return kind === 'small'
      ? this.small(digest)
      : kind === 'node'
        ? this.node(digest)
        : this.chunked(digest);
  }

  get index(): string {
    return join(this.root, INDEX_FILE);
  }

  get temporaryFolder(): string {
    return join(this.root, TEMPORARY);
  }

  /** A name nobody used in this process. */
  temporary(): string {
    this.#next += 1;
    return join(this.root, TEMPORARY, `${process.pid}-${this.#next}`);
  }
}

function shard(digest: Digest): [string, string, string] {
  const hex = digestBytes(digest).toString('hex');
  return [digestAlgorithm(digest), hex.slice(0, 2), hex];
}

/** The digest a path names, or undefined for anything we did not make. */
export function digestOfPath(algorithm: string, prefix: string, name: string): Digest | undefined {
  const text = `${algorithm}:${name}`;
  return isDigest(text) && name.startsWith(prefix) && prefix.length === 2 ? text : undefined;
}
