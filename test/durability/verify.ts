// Compares what a hub serves with what it acknowledged.
import assert from 'node:assert/strict';
import { request } from 'undici';
import type { Digest } from '../../proto/oci/digest.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { AUTHORIZATION } from './hub-process.ts';
import type { Image, Ledger, SentBlob } from './ledger.ts';
import { REPOSITORIES, SURE_MS } from './pushes.ts';

const SIDE_BY_SIDE = 8;
const PAGE = 1000;

/** What was compared byte for byte. */
export type Verified = { images: number; blobs: number; bytes: number };

/**
 * Everything that was acknowledged is there and whole; of the rest each thing is there whole or
 * not at all. Afterwards the ledger says what is there. `collects`: a blob that no image names may
 * be gone after a while.
 */
export async function verify(
  url: string,
  ledger: Ledger,
  { collects }: { collects: boolean },
): Promise<Verified> {
  const verified: Verified = { images: 0, blobs: 0, bytes: 0 };
  const found = { url, ledger, verified };
  await sideBySide([...ledger.blobs], async ([key, blob]) => {
    if (await checkBlob(found, blob)) return;
    const { storedMs = 0 } = blob;
    const mayBeGone = storedMs === 0 || (collects && Date.now() - storedMs > SURE_MS);
    assert.ok(mayBeGone, `${key} is lost`);
  });
  ledger.blobs.clear();
  await sideBySide([...ledger.images], ([key, image]) => checkImage(found, key, image));
  await sideBySide([...REPOSITORIES], (repository) => checkTags(found, repository));
  ledger.tidy();
  return verified;
}

type Found = { url: string; ledger: Ledger; verified: Verified };

async function checkBlob(
  { url, ledger, verified }: Found,
  { repository, digest }: Pick<SentBlob, 'repository' | 'digest'>,
): Promise<boolean> {
  const { status, body } = await get(`${url}/v2/${repository}/blobs/${digest}`);
  if (status === 404) return false;
  assert.equal(status, 200, body.toString());
  assert.ok(ledger.bytes.get(digest)?.equals(body), `${repository}@${digest} has other bytes`);
  verified.blobs += 1;
  verified.bytes += body.length;
  return true;
}

async function checkImage(found: Found, key: string, image: Image): Promise<void> {
  const { url, ledger, verified } = found;
  const { repository, digest, bytes, blobs, state } = image;
  const { status, body } = await get(`${url}/v2/${repository}/manifests/${digest}`);
  if (state === 'stored') assert.equal(status, 200, `${key} is lost`);
  if (state === 'deleted') assert.equal(status, 404, `${key} is back`);
  if (status === 404) {
    ledger.images.delete(key);
    return;
  }
  assert.equal(status, 200, body.toString());
  assert.ok(body.equals(bytes), `${key} has other bytes`);
  image.state = 'stored';
  verified.images += 1;
  for (const blob of blobs) {
    assert.ok(await checkBlob(found, { repository, digest: blob }), `${key} lacks ${blob}`);
  }
}

async function checkTags({ url, ledger }: Found, repository: string): Promise<void> {
  const { status, body } = await get(`${url}/v2/${repository}/tags/list?n=${PAGE}`);
  assert.ok(status === 200 || status === 404, body.toString());
  const names = new Set<string>(status === 404 ? [] : JSON.parse(body.toString()).tags);
  for (const tag of ledger.tags.values()) {
    if (tag.repository !== repository) continue;
    const { status: known, body: manifest } = await get(
      `${url}/v2/${repository}/manifests/${tag.name}`,
    );
    assert.equal(known, names.has(tag.name) ? 200 : 404, `${repository}:${tag.name} is listed`);
    const now: Digest | undefined = known === 200 ? digestOf(manifest) : undefined;
    assert.ok(
      tag.may.has(now),
      `${repository}:${tag.name} names ${now}, not ${[...tag.may].join()}`,
    );
    if (now !== undefined) assert.ok(ledger.images.has(`${repository}@${now}`), 'an image of ours');
    tag.may = new Set([now]);
    names.delete(tag.name);
  }
  assert.deepEqual([...names], [], 'tags that nobody set');
}

async function get(url: string): Promise<{ status: number; body: Buffer }> {
  const headers = { authorization: AUTHORIZATION, accept: OCI_MANIFEST };
  const response = await request(url, { headers });
  return { status: response.statusCode, body: Buffer.from(await response.body.arrayBuffer()) };
}

async function sideBySide<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const worker = async (): Promise<void> => {
    for (const item of rest) await task(item);
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));
}
