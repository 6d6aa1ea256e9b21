import { TAR_PAX_MAX_BYTES, TAR_RECORDS_MAX } from './constants.ts';
import { damaged } from './errors.ts';
import { isBundleFolder, isBundlePath } from './layout.ts';
import { decodePax, decodeTarHeader, padded, TAR_RECORD, tarInvalid } from './tar-header.ts';

/** Where the content of a file lies in an archive. */
export type TarEntry = { name: string; start: number; size: number };

export type TarFile = {
  /** Bytes of the whole. */
  size: number;
  /** Reads that many bytes at a place, or all there are. */
  read(position: number, length: number): Promise<Buffer>;
};

/** What two records of zeros end, and what nothing ends: the archive was cut. */
export type TarIndex = { entries: TarEntry[]; ended: boolean };

/**
 * Looks through the headers of an archive; contents are not read. Only plain files with names that
 * a bundle has are taken, no links, no devices, no name twice.
 * @throws BundleError TAR_INVALID, BUNDLE_DAMAGED
 */
export async function indexTar(file: TarFile): Promise<TarIndex> {
  const entries: TarEntry[] = [];
  const names = new Set<string>();
  let pax: { name?: string; size?: number } = {};
  let at = 0;
  for (let records = 0; at + TAR_RECORD <= file.size; records += 1) {
    if (records >= TAR_RECORDS_MAX) throw tarInvalid('it has too many entries', at);
    // oxlint-disable-next-line no-await-in-loop -- a header says where the next one is
    const header = decodeTarHeader(await file.read(at, TAR_RECORD), at);
    if (header === undefined) return { entries, ended: true };
    const start = at + TAR_RECORD;
    if (header.type === 'x') {
      if (header.size > TAR_PAX_MAX_BYTES) throw tarInvalid('an extended header is too long', at);
      // oxlint-disable-next-line no-await-in-loop -- it is about the next header
      pax = decodePax(await file.read(start, header.size), at);
      at = start + padded(header.size);
      continue;
    }
    const size = pax.size ?? header.size;
    const name = (pax.name ?? header.name).replace(/^\.\//, '');
    pax = {};
    if (header.type === '0' && isBundlePath(name)) {
      if (names.has(name)) throw damaged(`${name} is in it twice`);
      names.add(name);
      entries.push({ name, start, size });
    } else if (header.type !== '5' || size !== 0 || !isBundleFolder(name)) {
      throw damaged(`it has an entry that no bundle has: ${JSON.stringify(name.slice(0, 100))}`);
    }
    at = start + padded(size);
  }
  return { entries, ended: false };
}
