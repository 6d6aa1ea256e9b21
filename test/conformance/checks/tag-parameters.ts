import type { DigestAlgorithm } from '../../../proto/oci/digest.ts';
import { expectHeader, expectStatus, headerOf, type Answer } from '../answer.ts';
import { fail, inOrder, skip, type Check, type Trial } from '../check.ts';
import { emptyJson, freshTag, imageOf, randomBlob, withBytes, type Manifest } from '../content.ts';
import { expectManifest, type Repository } from '../repository.ts';

const SPEC = 'Pushing Manifests';
/** What a registry should take in one request at least. */
const TAGS = 10;

/** The tags an answer says were made. */
export function acceptedTags(answer: Answer): string[] {
  const text = headerOf(answer, 'oci-tag') ?? '';
  return text.split(',').flatMap((tag) => (tag.trim() === '' ? [] : [tag.trim()]));
}

/** PUT of a manifest by its digest with tags as parameters. */
export function putWithTags(
  repo: Repository,
  manifest: Manifest,
  tags: readonly string[],
): Promise<Answer> {
  const query = tags.map((tag) => `tag=${encodeURIComponent(tag)}`).join('&');
  return repo.putManifest(`${manifest.digest}?${query}`, manifest);
}

async function freshImage({ repo }: Trial, algorithm: DigestAlgorithm): Promise<Manifest> {
  const layer = randomBlob(50);
  await repo.pushAll([emptyJson(), layer]);
  return imageOf(emptyJson(), [layer], {}, algorithm);
}

async function pushTags(trial: Trial, algorithm: DigestAlgorithm, count: number): Promise<void> {
  const { repo } = trial;
  const image = await freshImage(trial, algorithm);
  const tags = Array.from({ length: count }, (_, i) => freshTag(`tag-${i}`));
  const answer = await putWithTags(repo, image, tags);
  if (answer.status === 405) skip('tags as parameters are not offered');
  expectStatus(answer, 201);
  if (headerOf(answer, 'oci-tag') === undefined) skip('the registry ignores tags as parameters');
  const accepted = acceptedTags(answer);
  if (accepted.toSorted().join() !== tags.toSorted().join()) {
    fail(`OCI-Tag names ${accepted.join(' ')}, not ${tags.join(' ')}`);
  }
  expectHeader(answer, 'docker-content-digest', image.digest);
  await inOrder(tags, async (tag) => {
    expectManifest(await repo.ask(`manifests/${tag}`), image);
    const head = await repo.head(`manifests/${tag}`);
    expectHeader(head, 'docker-content-digest', image.digest);
  });
}

/** A request that is refused makes none of its tags. */
async function refusedWhole(trial: Trial): Promise<void> {
  const { repo } = trial;
  const image = await freshImage(trial, 'sha256');
  const other = withBytes(image, Buffer.concat([image.bytes, Buffer.from(' ')]));
  const tag = freshTag('none');
  expectStatus(await putWithTags(repo, { ...other, digest: image.digest }, [tag]), 400);
  expectStatus(await repo.ask(`manifests/${tag}`), 404);
}

async function badTag(trial: Trial): Promise<void> {
  const { repo } = trial;
  const image = await freshImage(trial, 'sha256');
  const [good, bad] = [freshTag('good'), '-no-tag'];
  const answer = await putWithTags(repo, image, [good, bad]);
  if (acceptedTags(answer).includes(bad)) fail(`OCI-Tag names ${bad}, which is no tag`);
  const accepted = answer.status === 201 && acceptedTags(answer).includes(good);
  const found = await repo.ask(`manifests/${good}`);
  expectStatus(found, accepted ? 200 : 404);
}

export const tagParameterChecks: readonly Check[] = [
  ...(['sha256', 'sha512'] as const).flatMap((algorithm) =>
    [1, TAGS].map((count): Check => ({
      id: `tag parameters/${count} with a ${algorithm} digest`,
      spec: SPEC,
      level: 'MAY',
      since: 'dev',
      run: (trial) => pushTags(trial, algorithm, count),
    })),
  ),
  {
    id: 'tag parameters/the digest of other bytes',
    spec: SPEC,
    level: 'MUST',
    since: 'dev',
    run: refusedWhole,
  },
  {
    id: 'tag parameters/one that is no tag',
    spec: SPEC,
    level: 'MUST',
    since: 'dev',
    run: badTag,
  },
];
