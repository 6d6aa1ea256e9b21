import type { DigestAlgorithm } from '../../../proto/oci/digest.ts';
import { expectHeader, expectStatus, locationOf } from '../answer.ts';
import { inOrder, skip, type Check, type Trial } from '../check.ts';
import { blobOf, emptyJson, randomBlob } from '../content.ts';

const POST_PUT = 'POST then PUT';
const BLOB_BYTES = 512;
const OCTETS = { 'content-type': 'application/octet-stream' };
const BAD_DIGESTS = [
  'sha256:baddigeststring',
  'sha256',
  `md5:${'0'.repeat(32)}`,
  `sha256:${'A'.repeat(64)}`,
];

async function postOnly({ repo }: Trial, algorithm: DigestAlgorithm): Promise<void> {
  const blob = randomBlob(BLOB_BYTES, algorithm);
  const answer = await repo.ask(`blobs/uploads/?digest=${blob.digest}`, {
    method: 'POST',
    headers: OCTETS,
    body: blob.bytes,
  });
  if (answer.status !== 202) return repo.created(answer, blob);
  const upload = { location: locationOf(answer), chunkBytes: 0 };
  await repo.created(await repo.put(upload, blob.digest, blob.bytes), blob);
  skip('a POST with the whole blob is answered with an upload to go on with');
}

async function stream({ repo }: Trial, algorithm: DigestAlgorithm): Promise<void> {
  const blob = randomBlob(5 * BLOB_BYTES, algorithm);
  const answer = await repo.patch(await repo.open(), async function* () {
    for (let at = 0; at < blob.bytes.length; at += BLOB_BYTES) {
      yield blob.bytes.subarray(at, at + BLOB_BYTES);
    }
  });
  expectStatus(answer, 202);
  expectHeader(answer, 'range', `0-${blob.bytes.length - 1}`);
  const upload = { location: locationOf(answer), chunkBytes: 0 };
  await repo.created(await repo.put(upload, blob.digest), blob);
}

async function statusOfUpload({ repo, http }: Trial): Promise<void> {
  const { location } = await repo.open();
  const fresh = await http.ask(location);
  expectStatus(fresh, 204);
  expectHeader(fresh, 'range', /^0-\d+$/);
  const upload = { location: locationOf(fresh), chunkBytes: 0 };
  const { bytes } = randomBlob(BLOB_BYTES);
  const patched = await repo.patch(upload, bytes, 0);
  expectStatus(patched, 202);
  const later = await http.ask(locationOf(patched));
  expectStatus(later, 204);
  expectHeader(later, 'range', `0-${BLOB_BYTES - 1}`);
  locationOf(later);
}

async function cancelled({ repo, http }: Trial): Promise<void> {
  const upload = await repo.open();
  const answer = await http.ask(upload.location, { method: 'DELETE' });
  expectStatus(answer, 204);
  expectStatus(await http.ask(upload.location), 404);
  const { bytes, digest } = randomBlob(BLOB_BYTES);
  expectStatus(await repo.put(upload, digest, bytes), 404);
}

async function doneWith({ repo, http }: Trial): Promise<void> {
  const upload = await repo.open();
  const blob = randomBlob(BLOB_BYTES);
  await repo.created(await repo.put(upload, blob.digest, blob.bytes), blob);
  expectStatus(await http.ask(upload.location), 404);
}

/** Blobs of one digest algorithm, in one piece or as a stream. */
export function blobPushChecks(algorithm: DigestAlgorithm): readonly Check[] {
  const one = (
    name: string,
    spec: string,
    level: Check['level'],
    run: Check['run'],
    since: Check['since'] = '1.1',
  ): Check => ({ id: `blobs/${algorithm}/push ${name}`, spec, level, since, run });
  return [
    one('by POST', 'Single POST', 'MAY', (trial) => postOnly(trial, algorithm)),
    one('by POST and PUT', POST_PUT, 'MUST', ({ repo }) =>
      repo.push(randomBlob(BLOB_BYTES, algorithm)),
    ),
    one('as a stream', 'Pushing a blob in chunks', 'SHOULD', (trial) => stream(trial, algorithm)),
    one('of no bytes', POST_PUT, 'MUST', ({ repo }) =>
      repo.push(blobOf(Buffer.alloc(0), algorithm)),
    ),
    one('of an empty object', POST_PUT, 'MUST', ({ repo }) => repo.push(emptyJson(algorithm))),
    one('twice', POST_PUT, 'MUST', async ({ repo }) => {
      const blob = randomBlob(BLOB_BYTES, algorithm);
      await repo.pushAll([blob, blob]);
    }),
    one(
      'with its algorithm announced',
      'Pushing a blob in chunks',
      'SHOULD',
      async ({ repo }) => {
        const blob = randomBlob(BLOB_BYTES, algorithm);
        const upload = await repo.open(`?digest-algorithm=${algorithm}`);
        const patched = await repo.patch(upload, blob.bytes, 0);
        expectStatus(patched, 202);
        const next = { ...upload, location: locationOf(patched) };
        await repo.created(await repo.put(next, blob.digest), blob);
      },
      'dev',
    ),
  ];
}

/** What uploads do whatever the algorithm. */
export const uploadChecks: readonly Check[] = [
  {
    id: 'uploads/status',
    spec: 'Pushing a blob in chunks',
    level: 'MUST',
    since: '1.1',
    run: statusOfUpload,
  },
  {
    id: 'uploads/cancelled',
    spec: 'Cancel a blob upload',
    level: 'SHOULD',
    since: 'dev',
    run: cancelled,
  },
  {
    id: 'uploads/gone when done',
    spec: 'Endpoints, end-13',
    level: 'SHOULD',
    since: '1.1',
    run: doneWith,
  },
  {
    id: 'uploads/each has a location of its own',
    spec: POST_PUT,
    level: 'MUST',
    since: '1.1',
    run: async ({ repo }) => {
      const [one, two] = [randomBlob(BLOB_BYTES), randomBlob(BLOB_BYTES)];
      const [first, second] = [await repo.open(), await repo.open()];
      await repo.created(await repo.put(second, two.digest, two.bytes), two);
      await repo.created(await repo.put(first, one.digest, one.bytes), one);
    },
  },
  {
    id: 'uploads/unknown algorithm announced',
    spec: 'Pushing blobs',
    level: 'SHOULD',
    since: 'dev',
    run: async ({ repo }) => expectStatus(await repo.post('?digest-algorithm=md5'), 400),
  },
  ...BAD_DIGESTS.map((digest, i): Check => ({
    id: `uploads/end with a digest that is none, ${i + 1}`,
    spec: 'Pushing blobs',
    level: 'SHOULD',
    since: '1.1',
    run: async ({ repo }) => {
      const { bytes } = randomBlob(BLOB_BYTES);
      expectStatus(await repo.put(await repo.open(), digest, bytes), 400);
    },
  })),
  {
    id: 'uploads/end without a digest',
    spec: 'Pushing a blob in chunks',
    level: 'SHOULD',
    since: '1.1',
    run: async ({ repo, http }) => {
      const { location } = await repo.open();
      const { bytes } = randomBlob(BLOB_BYTES);
      expectStatus(await http.ask(location, { method: 'PUT', headers: OCTETS, body: bytes }), 400);
    },
  },
];

/** A blob that is not what its digest says, in each style of upload. */
export function wrongDigestChecks(algorithm: DigestAlgorithm): readonly Check[] {
  const styles: Record<string, (trial: Trial, digest: string, bytes: Buffer) => Promise<void>> = {
    'by POST': async ({ repo }, digest, body) => {
      const target = `blobs/uploads/?digest=${digest}`;
      const answer = await repo.ask(target, { method: 'POST', headers: OCTETS, body });
      if (answer.status === 202) skip('a POST with the whole blob only begins an upload');
      expectStatus(answer, 400);
    },
    'by POST and PUT': async ({ repo }, digest, bytes) =>
      expectStatus(await repo.put(await repo.open(), digest, bytes), 400),
    'as a stream': async ({ repo }, digest, bytes) => {
      const patched = await repo.patch(await repo.open(), async function* () {
        yield bytes;
      });
      expectStatus(patched, 202);
      const upload = { location: locationOf(patched), chunkBytes: 0 };
      expectStatus(await repo.put(upload, digest), 400);
    },
    'in chunks': async ({ repo }, digest, bytes) => {
      const patched = await repo.patch(await repo.open(), bytes, 0);
      expectStatus(patched, 202);
      const upload = { location: locationOf(patched), chunkBytes: 0 };
      expectStatus(await repo.put(upload, digest), 400);
    },
    'in chunks, the last in the PUT': async ({ repo }, digest, bytes) => {
      const upload = await repo.open();
      const at = Math.max(upload.chunkBytes, bytes.length >> 1);
      const all = Buffer.concat([bytes, Buffer.alloc(at)]);
      const patched = await repo.patch(upload, all.subarray(0, at), 0);
      expectStatus(patched, 202);
      const next = { ...upload, location: locationOf(patched) };
      expectStatus(await repo.put(next, digest, all.subarray(at), at), 400);
    },
  };
  return Object.entries(styles).map(([name, run]) => ({
    id: `blobs/${algorithm}/wrong digest ${name}`,
    spec: 'Pushing blobs',
    level: 'SHOULD',
    since: '1.1',
    run: async (trial) => {
      const [sent, told] = [randomBlob(BLOB_BYTES), randomBlob(BLOB_BYTES, algorithm)];
      await run(trial, told.digest, sent.bytes);
      await inOrder([sent, told], (blob) => trial.repo.expectBlobAbsent(blob));
    },
  }));
}
