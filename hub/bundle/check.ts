import { createHash } from 'node:crypto';
import { digestAlgorithm, digestFromBytes } from '../../proto/oci/digest.ts';
import { roundBytes, type Progress } from '../backup/progress.ts';
import {
  BUNDLE_LIST_MAX_BYTES,
  BUNDLE_PROBLEMS_MAX,
  BUNDLE_SIGNATURE_MAX_BYTES,
} from './constants.ts';
import { damaged } from './errors.ts';
import { LIST_PATH, SIGNATURE_PATH } from './layout.ts';
import { entriesOf, parseList, type BundleEntry, type BundleList } from './list.ts';
import { verifySignature, type ExporterKey, type Signer } from './signature.ts';
import { readFileOf, type BundleSource } from './source.ts';
import type { Head } from './target.ts';

/** A bundle of which every byte was read and is what a believed exporter signed. */
export type CheckedBundle = { list: BundleList; signer: Signer; bytes: number };

/** List and signature of a bundle; nothing is checked. @throws BundleError BUNDLE_DAMAGED */
export async function headOf(source: BundleSource): Promise<Head> {
  return {
    list: await readFileOf(source, LIST_PATH, BUNDLE_LIST_MAX_BYTES),
    signature: await readFileOf(source, SIGNATURE_PATH, BUNDLE_SIGNATURE_MAX_BYTES),
  };
}

/**
 * Checks signature, list and every byte of a bundle, in this order.
 * @throws BundleError BUNDLE_UNTRUSTED, NO_TRUSTED_KEYS, BUNDLE_FORMAT, BUNDLE_DAMAGED; errors of
 *   node:fs
 */
export async function checkBundle(
  source: BundleSource,
  believed: readonly ExporterKey[],
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<CheckedBundle> {
  const head = await headOf(source);
  const signer = verifySignature(head.list, head.signature, believed);
  const list = parseList(head.list);
  const entries = entriesOf(list);
  const problems = namesAndSizes(source, entries);
  if (source.cut !== undefined) problems.unshift(source.cut);
  if (list.fleetId !== signer.fleetId) problems.push('its list is of another fleet');
  if (problems.length === 0) {
    problems.push(...(await contents(source, entries, { progress, signal })));
  }
  const shown = problems.slice(0, BUNDLE_PROBLEMS_MAX);
  const more = problems.length - shown.length;
  if (problems.length === 0) {
    const bytes = entries.reduce((sum, entry) => sum + entry.size, 0);
    return { list, signer, bytes };
  }
  throw damaged(shown.join('; ') + (more > 0 ? `; and ${more} more` : ''));
}

/** What is there is what the list says: no more, no less. */
function namesAndSizes({ sizes }: BundleSource, entries: readonly BundleEntry[]): string[] {
  const problems: string[] = [];
  const wanted = new Set([LIST_PATH, SIGNATURE_PATH]);
  for (const { path, size } of entries) {
    wanted.add(path);
    const found = sizes.get(path);
    if (found === undefined) problems.push(`${path} is missing`);
    else if (found !== size) problems.push(`${path} has ${found} bytes, not ${size}`);
  }
  for (const path of sizes.keys()) {
    if (!wanted.has(path)) problems.push(`${path} is not on its list`);
  }
  return problems;
}

async function contents(
  source: BundleSource,
  entries: readonly BundleEntry[],
  { progress, signal }: { progress: Progress; signal: AbortSignal },
): Promise<string[]> {
  const problems: string[] = [];
  const total = entries.reduce((sum, entry) => sum + entry.size, 0);
  let done = 0;
  for (const { path, digest } of entries) {
    const algorithm = digestAlgorithm(digest);
    const hash = createHash(algorithm);
    for await (const slice of source.read(path)) {
      signal.throwIfAborted();
      hash.update(slice);
      done += slice.length;
      progress.step(() => `checking: ${roundBytes(done)} of ${roundBytes(total)}`);
    }
    const found = digestFromBytes(algorithm, hash.digest());
    if (found !== digest) problems.push(`${path} has other bytes: ${found}`);
  }
  return problems;
}
