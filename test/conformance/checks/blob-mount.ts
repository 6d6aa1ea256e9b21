import type { DigestAlgorithm } from '../../../proto/oci/digest.ts';
import { expectStatus, locationOf, type Answer } from '../answer.ts';
import { skip, type Check, type Trial } from '../check.ts';
import { randomBlob, type Blob } from '../content.ts';

const SPEC = 'Mounting a blob from another repository';
const SIZE = 400;

/** Begins a mount of a blob that the other repository has. */
async function mount(
  { repo, other }: Trial,
  blob: Blob,
  query: (from: string) => string,
): Promise<Answer> {
  await other.push(blob);
  return repo.post(`?mount=${blob.digest}${query(other.name)}`);
}

/** An answer of 202 is an upload, and has to work as one. */
async function goOn({ repo }: Trial, answer: Answer, blob: Blob): Promise<void> {
  expectStatus(answer, 202);
  const upload = { location: locationOf(answer), chunkBytes: 0 };
  await repo.created(await repo.put(upload, blob.digest, blob.bytes), blob);
}

/** Mounts of blobs of one digest algorithm. */
export function mountChecks(algorithm: DigestAlgorithm): readonly Check[] {
  const one = (name: string, level: Check['level'], run: Check['run']): Check => {
    return { id: `blobs/${algorithm}/mount ${name}`, spec: SPEC, level, since: '1.1', run };
  };
  return [
    one('from another repository', 'MAY', async (trial) => {
      const blob = randomBlob(SIZE, algorithm);
      const answer = await mount(trial, blob, (from) => `&from=${from}`);
      if (answer.status === 201) return trial.repo.created(answer, blob);
      await goOn(trial, answer, blob);
      skip('a mount is answered with an upload');
    }),
    one('from wherever it is', 'MAY', async (trial) => {
      const blob = randomBlob(SIZE, algorithm);
      const answer = await mount(trial, blob, () => '');
      if (answer.status === 201) return trial.repo.created(answer, blob);
      await goOn(trial, answer, blob);
      skip('a mount without from is answered with an upload');
    }),
    one('what is not there', 'SHOULD', async (trial) => {
      const blob = randomBlob(SIZE, algorithm);
      const query = `?mount=${blob.digest}&from=${trial.other.name}`;
      const answer = await trial.repo.post(query);
      await goOn(trial, answer, blob);
    }),
    one('from a repository that is not there', 'SHOULD', async (trial) => {
      const blob = randomBlob(SIZE, algorithm);
      const query = `?mount=${blob.digest}&from=${trial.other.name}-never-pushed`;
      await goOn(trial, await trial.repo.post(query), blob);
    }),
  ];
}
