import { expectStatus, headerOf } from '../answer.ts';
import { fail, inOrder, skip, type Check, type Trial } from '../check.ts';
import { freshTag, randomBlob } from '../content.ts';
import { expectManifest, type Repository } from '../repository.ts';
import { allTags } from './tags.ts';

const TAGS = 'Deleting tags';
const MANIFESTS = 'Deleting Manifests';

async function expectGone(repo: Repository, references: readonly string[]): Promise<void> {
  await inOrder(references, async (reference) => {
    expectStatus(await repo.ask(`manifests/${reference}`), 404);
    expectStatus(await repo.head(`manifests/${reference}`), 404);
  });
}

async function deleteTag({ repo }: Trial): Promise<void> {
  const [gone, kept] = [freshTag('gone'), freshTag('kept')];
  const image = await repo.pushImage([gone, kept]);
  await repo.eraseOrSkip(`manifests/${gone}`);
  await expectGone(repo, [gone]);
  const tags = await allTags(repo);
  if (tags.includes(gone)) fail('a tag that was deleted is still listed');
  if (!tags.includes(kept)) fail('the other tag of the manifest is not listed any more');
  expectManifest(await repo.ask(`manifests/${kept}`), image);
  expectManifest(await repo.ask(`manifests/${image.digest}`), image);
}

async function deleteManifest({ repo }: Trial): Promise<void> {
  const tags = [freshTag('one'), freshTag('two')];
  const image = await repo.pushImage(tags);
  await repo.eraseOrSkip(`manifests/${image.digest}`);
  await expectGone(repo, [...tags, image.digest]);
  const left = (await allTags(repo)).filter((tag) => tags.includes(tag));
  if (left.length > 0) fail(`${left.join(' ')} are still listed`);
  expectStatus(await repo.ask(`blobs/${image.layer.digest}`), 200);
  await repo.pushManifest(image, tags[0]);
}

async function deleteAbsent({ repo }: Trial): Promise<void> {
  await repo.pushImage();
  await inOrder([randomBlob(8).digest, freshTag('absent')], async (reference) =>
    expectStatus(await repo.erase(`manifests/${reference}`), 404, 400, 405),
  );
}

export const deleteChecks: readonly Check[] = [
  { id: 'delete/tag', spec: TAGS, level: 'MAY', since: '1.1', run: deleteTag },
  { id: 'delete/manifest', spec: MANIFESTS, level: 'MAY', since: '1.1', run: deleteManifest },
  {
    id: 'delete/what is not there',
    spec: MANIFESTS,
    level: 'MUST',
    since: '1.1',
    run: deleteAbsent,
  },
  {
    id: 'delete/in a repository that is not there',
    spec: MANIFESTS,
    level: 'MUST',
    since: '1.1',
    run: async ({ http, repo }) => {
      const name = `${repo.name}-never-pushed`;
      const target = `/v2/${name}/manifests/${randomBlob(8).digest}`;
      expectStatus(await http.ask(target, { method: 'DELETE' }), 404, 405);
    },
  },
];

/** What a registry answers to the host that the client's image name has. */
export const namespaceCheck: Check = {
  id: 'namespace/told back',
  spec: 'Registry Proxying',
  level: 'SHOULD',
  since: 'dev',
  run: async ({ http, repo }) => {
    const image = await repo.pushImage();
    const answer = await repo.ask(`manifests/${image.digest}?ns=${http.host}`);
    expectManifest(answer, image);
    const told = headerOf(answer, 'oci-namespace');
    if (told === undefined) skip('the registry does not use the ns parameter for its own name');
    if (told !== http.host) fail(`OCI-Namespace is ${told}, not ${http.host}`);
  },
};
