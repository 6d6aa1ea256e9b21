import type { DigestAlgorithm } from '../../../proto/oci/digest.ts';
import { expectHeader, expectStatus, locationOf, type Answer } from '../answer.ts';
import type { Check, Trial } from '../check.ts';
import { randomBlob, type Blob } from '../content.ts';
import type { Upload } from '../repository.ts';

const SPEC = 'Pushing a blob in chunks';

type Plan = {
  chunks: 1 | 3;
  /** The last chunk comes with the PUT. */
  putLast: boolean;
  /** Before each chunk one is sent whose place is elsewhere. */
  disorder: boolean;
};

type Session = { trial: Trial; upload: Upload; blob: Blob; plan: Plan };

/** Three chunks, the last one shorter, or everything in one. */
async function pushChunked(trial: Trial, algorithm: DigestAlgorithm, plan: Plan): Promise<void> {
  const { repo } = trial;
  let upload = await repo.open();
  const { chunkBytes } = upload;
  const blob = randomBlob(chunkBytes * 3 - 5, algorithm);
  const size = blob.bytes.length;
  const step = plan.chunks === 1 ? size : chunkBytes;
  for (let at = 0; at < size; at += step) {
    // oxlint-disable no-await-in-loop -- one chunk after the other
    if (plan.disorder) upload = await outOfOrder({ trial, upload, blob, plan }, at);
    const body = blob.bytes.subarray(at, at + step);
    if (plan.putLast && at + step >= size) {
      return repo.created(await repo.put(upload, blob.digest, body, at), blob);
    }
    const answer = await repo.patch(upload, body, at);
    expectStatus(answer, 202);
    expectHeader(answer, 'range', `0-${at + body.length - 1}`);
    upload = moved(upload, answer);
    // oxlint-enable no-await-in-loop
  }
  await repo.created(await repo.put(upload, blob.digest), blob);
}

/** Sends a chunk that is not the next one, is told so, and asks where the upload goes on. */
async function outOfOrder(
  { trial: { repo, http }, upload, blob, plan }: Session,
  at: number,
): Promise<Upload> {
  const { chunkBytes } = upload;
  const size = blob.bytes.length;
  const ahead = at + chunkBytes;
  const start = ahead < size ? ahead : 0;
  const body = blob.bytes.subarray(start, start + chunkBytes);
  const last = start + body.length === size;
  const answer =
    plan.putLast && last
      ? await repo.put(upload, blob.digest, body, start)
      : await repo.patch(upload, body, start);
  expectStatus(answer, 416);
  const status = await http.ask(upload.location);
  expectStatus(status, 204);
  expectHeader(status, 'range', at === 0 ? /^0-\d+$/ : `0-${at - 1}`);
  return moved(upload, status);
}

function moved(upload: Upload, answer: Answer): Upload {
  return { ...upload, location: locationOf(answer) };
}

async function badRange({ repo, http }: Trial, range: string): Promise<void> {
  const { location } = await repo.open();
  const { bytes } = randomBlob(100);
  const answer = await http.ask(location, {
    method: 'PATCH',
    headers: { 'content-type': 'application/octet-stream', 'content-range': range },
    body: bytes,
  });
  expectStatus(answer, 400, 416);
}

/** Blobs of one digest algorithm in chunks. */
export function chunkChecks(algorithm: DigestAlgorithm): readonly Check[] {
  const plans: Record<string, Plan> = {
    'one chunk': { chunks: 1, putLast: false, disorder: false },
    'three chunks': { chunks: 3, putLast: false, disorder: false },
    'three chunks, the last in the PUT': { chunks: 3, putLast: true, disorder: false },
    'chunks out of order': { chunks: 3, putLast: false, disorder: true },
    'chunks out of order, the last in the PUT': { chunks: 3, putLast: true, disorder: true },
  };
  return Object.entries(plans).map(([name, plan]) => ({
    id: `blobs/${algorithm}/push in ${name}`,
    spec: SPEC,
    level: 'MUST',
    since: '1.1',
    run: (trial) => pushChunked(trial, algorithm, plan),
  }));
}

export const badChunkChecks: readonly Check[] = ['99-0', 'first-last', '0-200', '1-100'].map(
  (range) => ({
    id: `uploads/chunk of 100 bytes said to be ${range}`,
    spec: SPEC,
    level: 'SHOULD',
    since: '1.1',
    run: (trial) => badRange(trial, range),
  }),
);
