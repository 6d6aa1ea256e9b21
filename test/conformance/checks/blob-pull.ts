import type { DigestAlgorithm } from '../../../proto/oci/digest.ts';
import {
  expectBody,
  expectHeader,
  expectHeaderIfAny,
  expectStatus,
  type Answer,
} from '../answer.ts';
import { inOrder, type Check, type Trial } from '../check.ts';
import { randomBlob, type Blob } from '../content.ts';
import { expectDigestHeader } from '../repository.ts';

const PULL = 'Pulling blobs';
const SIZE = 2048;

/** Header, status, and which bytes of 2048 come back. */
const RANGES: readonly [range: string, status: 206 | 416, start: number, end: number][] = [
  ['bytes=500-1499', 206, 500, 1500],
  ['bytes=500-', 206, 500, SIZE],
  ['bytes=-500', 206, SIZE - 500, SIZE],
  ['bytes=2000-5000', 206, 2000, SIZE],
  ['bytes=500-0', 416, 0, 0],
  ['bytes=5000-10000', 416, 0, 0],
];

async function pushed({ repo }: Trial, algorithm: DigestAlgorithm): Promise<Blob> {
  const blob = randomBlob(SIZE, algorithm);
  await repo.push(blob);
  return blob;
}

function expectPart(answer: Answer, { bytes }: Blob, start: number, end: number): void {
  const range = `bytes ${start}-${end - 1}/${bytes.length}`;
  expectHeader(answer, 'content-range', range);
  expectHeader(answer, 'content-length', String(end - start));
  expectBody(answer, bytes.subarray(start, end));
}

/** Parts of blobs. RFC 9110 section 14.2 lets a server ignore ranges; this asks for support. */
function rangeChecks(algorithm: DigestAlgorithm): readonly Check[] {
  return RANGES.map(([range, status, start, end]): Check => ({
    id: `blobs/${algorithm}/pull ${range}`,
    spec: PULL,
    level: 'SHOULD',
    since: '1.1',
    run: async (trial) => {
      const blob = await pushed(trial, algorithm);
      const answer = await trial.repo.ask(`blobs/${blob.digest}`, { headers: { range } });
      // RFC 9110 section 14.2 lets a server ignore ranges; the suite asks for support.
      expectStatus(answer, status);
      if (status === 206) expectPart(answer, blob, start, end);
    },
  }));
}

/** GET and HEAD of blobs of one digest algorithm. */
export function blobPullChecks(algorithm: DigestAlgorithm): readonly Check[] {
  const at = (name: string) => `blobs/${algorithm}/pull ${name}`;
  return [
    {
      id: at('what is not there'),
      spec: PULL,
      level: 'MUST',
      since: '1.1',
      run: ({ repo }) => repo.expectBlobAbsent(randomBlob(8, algorithm)),
    },
    {
      id: at('all'),
      spec: PULL,
      level: 'MUST',
      since: '1.1',
      run: async (trial) => {
        const blob = await pushed(trial, algorithm);
        const answer = await trial.repo.ask(`blobs/${blob.digest}`);
        expectStatus(answer, 200);
        expectBody(answer, blob.bytes);
        expectDigestHeader(answer, blob.digest);
        expectHeaderIfAny(answer, 'content-length', String(SIZE));
      },
    },
    {
      id: at('by HEAD'),
      spec: 'Checking if content exists in the registry',
      level: 'MUST',
      since: '1.1',
      run: async (trial) => {
        const blob = await pushed(trial, algorithm);
        const answer = await trial.repo.head(`blobs/${blob.digest}`);
        expectStatus(answer, 200);
        expectHeaderIfAny(answer, 'content-length', String(SIZE));
        expectDigestHeader(answer, blob.digest);
      },
    },
    {
      id: at('with its digest and size told'),
      spec: 'Checking if content exists in the registry',
      level: 'MUST',
      since: 'dev',
      run: async (trial) => {
        const { digest } = await pushed(trial, algorithm);
        const head = await trial.repo.head(`blobs/${digest}`);
        expectHeader(head, 'content-length', String(SIZE));
        expectHeader(head, 'docker-content-digest');
        const answer = await trial.repo.ask(`blobs/${digest}`);
        expectHeader(answer, 'docker-content-digest', digest);
      },
    },
    ...rangeChecks(algorithm),
    {
      id: at('never encoded'),
      spec: PULL,
      level: 'SHOULD',
      since: '1.1',
      run: async (trial) => {
        const blob = await pushed(trial, algorithm);
        const headers = { 'accept-encoding': 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5' };
        const answer = await trial.repo.ask(`blobs/${blob.digest}`, { headers });
        expectBody(answer, blob.bytes);
      },
    },
  ];
}

/** DELETE of blobs of one digest algorithm. */
export function blobDeleteChecks(algorithm: DigestAlgorithm): readonly Check[] {
  const spec = 'Deleting Blobs';
  return [
    {
      id: `blobs/${algorithm}/delete`,
      spec,
      level: 'MAY',
      since: '1.1',
      run: async ({ repo }) => {
        const blob = randomBlob(SIZE, algorithm);
        await repo.push(blob);
        await repo.eraseOrSkip(`blobs/${blob.digest}`);
        await repo.expectBlobAbsent(blob);
        expectStatus(await repo.erase(`blobs/${blob.digest}`), 404);
      },
    },
    {
      id: `blobs/${algorithm}/delete what is not there`,
      spec,
      level: 'MUST',
      since: '1.1',
      run: async ({ repo }) => {
        const { digest } = randomBlob(8, algorithm);
        expectStatus(await repo.erase(`blobs/${digest}`), 404, 400, 405);
      },
    },
    {
      id: `blobs/${algorithm}/delete and push again`,
      spec,
      level: 'MAY',
      since: '1.1',
      run: async ({ repo }) => {
        const blob = randomBlob(SIZE, algorithm);
        await inOrder([1, 2], async () => {
          await repo.push(blob);
          await repo.eraseOrSkip(`blobs/${blob.digest}`);
        });
        await repo.push(blob);
      },
    },
    {
      id: `blobs/${algorithm}/delete in one repository only`,
      spec,
      level: 'MAY',
      since: '1.1',
      run: async ({ repo, other }) => {
        const blob = randomBlob(SIZE, algorithm);
        await repo.push(blob);
        await other.push(blob);
        await repo.eraseOrSkip(`blobs/${blob.digest}`);
        expectStatus(await other.ask(`blobs/${blob.digest}`), 200);
      },
    },
  ];
}
