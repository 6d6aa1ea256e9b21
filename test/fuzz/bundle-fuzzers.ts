import { BUNDLE_FORMAT, entriesOf, formatList, parseList } from '../../hub/bundle/list.ts';
import { blobPath, isBundlePath } from '../../hub/bundle/layout.ts';
import { formatKeyFile, parseKeyFile } from '../../hub/bundle/signature.ts';
import {
  decodePax,
  decodeTarHeader,
  encodeTarHeader,
  TAR_RECORD,
} from '../../hub/bundle/tar-header.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { OCI_MANIFEST } from '../../proto/oci/media-types.ts';
import { KeyRing } from '../../proto/trust/key-ring.ts';
import { rawPublicKey } from '../../proto/trust/keys.ts';
import type { Fuzzer } from './campaign.ts';

const REFUSALS = ['BundleError'];
const digest = digestOf(Buffer.from('blob'));
const manifest = digestOf(Buffer.from('manifest'));
const id = (n: number): string => n.toString(16).padStart(32, '0');
const file = (path: 'oci-layout' | 'index.json') => ({ path, digest, size: 4 });
const long = encodeTarHeader({
  name: blobPath(digestOf(Buffer.from('x'), 'sha512')),
  size: 2 ** 40,
});
const ring = KeyRing.create(0);
const { keyId, publicKey } = ring.signingKey('bundle');

const list = formatList({
  kind: 'flotilla-bundle',
  format: BUNDLE_FORMAT,
  id: id(2),
  time: '2026-01-01T00:00:00.000Z',
  build: '0',
  fleetId: 'fleet-1',
  host: 'hub.example:7400',
  request: { images: ['team/app:v1'], platforms: ['linux/amd64'] },
  since: [{ id: id(1), time: '2025-01-01T00:00:00.000Z', digest }],
  files: [file('oci-layout'), file('index.json')],
  images: [{ repository: 'team/app', tag: 'v1', digest: manifest }],
  referrers: [],
  manifests: [{ repository: 'team/app', digest: manifest, size: 8, mediaType: OCI_MANIFEST }],
  blobs: [{ digest, size: 4, repositories: ['team/app'], in: { id: id(1), repository: 'a/b' } }],
});

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Fuzzers of what stands in a bundle. */
export const BUNDLE_FUZZERS: Fuzzer[] = [
  {
    name: 'tar header',
    corpus: [encodeTarHeader({ name: 'index.json', size: 5 }), long.subarray(-TAR_RECORD)],
    refusals: REFUSALS,
    run: (input) => {
      const header = decodeTarHeader(input, 0);
      check(header === undefined || Number.isSafeInteger(header.size), 'a size that is none');
    },
  },
  {
    name: 'pax header',
    corpus: [Buffer.from('16 path=bundle/\n22 size=1099511627776\n11 mtime=1\n')],
    refusals: REFUSALS,
    run: (input) => {
      const { size = 0 } = decodePax(input, 0);
      check(Number.isSafeInteger(size) && size >= 0, 'a size that is none');
    },
  },
  {
    name: 'bundle list',
    corpus: [list],
    refusals: REFUSALS,
    run: (input) => {
      const entries = entriesOf(parseList(input));
      check(
        entries.every(({ path }) => isBundlePath(path)),
        'a name that no bundle has',
      );
    },
  },
  {
    name: 'bundle key file',
    corpus: [
      Buffer.from(
        formatKeyFile({
          fleetId: 'fleet-1',
          fingerprint: ring.fingerprint(),
          keyId: keyId.toString('hex'),
          publicKey: rawPublicKey(publicKey).toString('hex'),
          keys: ring.bundle().toString('base64'),
        }),
      ),
    ],
    refusals: REFUSALS,
    run: (input) => {
      const { fingerprint } = parseKeyFile(input.toString('utf8'), 'a file');
      check(fingerprint === ring.fingerprint(), 'keys of another root are believed');
    },
  },
];
