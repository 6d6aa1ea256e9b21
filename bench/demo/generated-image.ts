import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { digestFromBytes, digestOf, type Digest } from '../../proto/oci/digest.ts';

/** One blob of an image, readable as often as needed. */
export type ImageBlob = {
  digest: Digest;
  size: number;
  read: () => AsyncIterable<Buffer> | Iterable<Buffer>;
};

/** An image ready to be pushed: its blobs and the manifest which names them. */
export type PushableImage = { blobs: ImageBlob[]; manifest: Buffer; mediaType: string };

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json';
const OCI_TAR = 'application/vnd.oci.image.layer.v1.tar';
const PIECE_BYTES = 1024 * 1024;
const TAR_BLOCK = 512;

/** A layer to generate; the same key gives the same bytes again. */
export type LayerPlan = { fileBytes: number; key: Buffer };

/**
 * Generates a valid OCI image with three layers: one of `largestBytes`, one of an eighth and one of
 * a sixty-fourth of it, with other bytes each time.
 */
export function generateImage(largestBytes: number): PushableImage {
  return imageOf(
    [largestBytes / 64, largestBytes / 8, largestBytes].map((bytes) => ({
      fileBytes: Math.max(1, Math.floor(bytes)),
      key: randomBytes(32),
    })),
  );
}

/**
 * A valid OCI image of these layers. Each is a tar with one file of incompressible bytes which are
 * made anew at every read, so the image needs no room on disk or in memory.
 */
export function imageOf(plans: readonly LayerPlan[]): PushableImage {
  const layers = plans.map((plan, index) => tarLayer(`data/layer-${index}.bin`, plan));
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    }),
  );
  const configBlob = { digest: digestOf(config), size: config.length, read: () => [config] };
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: OCI_CONFIG, digest: configBlob.digest, size: config.length },
      layers: layers.map(({ digest, size }) => ({ mediaType: OCI_TAR, digest, size })),
    }),
  );
  return { blobs: [configBlob, ...layers], manifest, mediaType: OCI_MANIFEST };
}

function tarLayer(name: string, { fileBytes, key }: LayerPlan): ImageBlob {
  const read = (): Iterable<Buffer> => tarStream(name, fileBytes, key);
  const hash = createHash('sha256');
  let size = 0;
  for (const part of read()) {
    hash.update(part);
    size += part.length;
  }
  return { digest: digestFromBytes('sha256', hash.digest()), size, read };
}

function* tarStream(name: string, fileBytes: number, key: Buffer): Generator<Buffer> {
  yield tarHeader(name, fileBytes);
  const keystream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const zeros = Buffer.alloc(PIECE_BYTES);
  for (let left = fileBytes; left > 0; left -= PIECE_BYTES) {
    yield keystream.update(zeros.subarray(0, Math.min(left, PIECE_BYTES)));
  }
  const padding = (TAR_BLOCK - (fileBytes % TAR_BLOCK)) % TAR_BLOCK;
  yield Buffer.alloc(padding + 2 * TAR_BLOCK);
}

/** POSIX ustar header; sizes of 8 GiB and more in GNU base-256. */
export function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  if (size < 0o100000000000) {
    header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  } else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(size), 128);
  }
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
