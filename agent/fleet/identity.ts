import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmod, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { PrivateKey } from '@libp2p/interface';
import { makeDurableFolder, nodeFolderOps } from '../../proto/std/durable-folder.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import { peerIdFromPublicKey } from '../../proto/trust/peer-id.ts';
import { writePrivateFile } from './atomic-file.ts';
import { FleetError } from './errors.ts';

const FILE_NAME = 'identity.key';
const LOOSE_BITS = 0o077;

/** Who this node is: one Ed25519 key for the hub API, for libp2p and for the peer id. */
export type NodeIdentity = {
  peerId: string;
  privateKey: KeyObject;
};

/**
 * Reads `identity.key` (PKCS#8, mode 0600) of the data folder, or makes it at the first start.
 * Throws FleetError IDENTITY_UNREADABLE for a file that is not an Ed25519 key: a new identity in
 * its place would take the node's membership away, so that is left to a person.
 */
export async function loadIdentity(
  dataDir: string,
  folders = nodeFolderOps,
): Promise<NodeIdentity> {
  const path = join(dataDir, FILE_NAME);
  // A join token may be good for one key only: the key has to outlast a power cut from the start.
  await makeDurableFolder(dataDir, folders);
  const pem = (await readOwn(path)) ?? (await create(path));
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
    return { peerId: peerIdFromPublicKey(rawPublicKey(privateKey)), privateKey };
  } catch (cause) {
    throw new FleetError(
      `${path} is not an Ed25519 private key. Restore it, or remove it to enrol as a new node.`,
      { code: 'IDENTITY_UNREADABLE', path },
      { cause },
    );
  }
}

/** The same key in libp2p's form. */
export async function libp2pKeyOf(identity: NodeIdentity): Promise<PrivateKey> {
  const { d } = identity.privateKey.export({ format: 'jwk' });
  return generateKeyPairFromSeed('Ed25519', Buffer.from(d ?? '', 'base64url'));
}

async function readOwn(path: string): Promise<string | undefined> {
  try {
    const pem = await readFile(path, 'utf8');
    if (((await stat(path)).mode & LOOSE_BITS) !== 0) await chmod(path, 0o600);
    return pem;
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}

async function create(path: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
  await writePrivateFile(path, pem);
  return pem.toString();
}
