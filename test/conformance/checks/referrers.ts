import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Digest, DigestAlgorithm } from '../../../proto/oci/digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from '../../../proto/oci/media-types.ts';
import { expectHeader, expectStatus, headerOf, jsonOf, objectOf, type Answer } from '../answer.ts';
import { fail, inOrder, type Check, type Trial } from '../check.ts';
import {
  descriptorOf,
  emptyJson,
  EXAMPLE_TYPE,
  imageOf,
  indexOf,
  manifestOf,
  OCI_CONFIG,
  OTHER_TYPE,
  randomBlob,
  referrerOf,
  type Descriptor,
  type Manifest,
  type ManifestFields,
} from '../content.ts';
import { linkedPages } from '../paging.ts';
import type { Repository } from '../repository.ts';

const SPEC = 'Listing Referrers';
const PAGE_MAX_BYTES = 4 * 1024 * 1024;
/** Together more than fits into one manifest. */
const HEAVY = { count: 5, bytes: 1_200_000 };

/** The descriptors of an answer, which has the form that the specification wants. */
export function referrersIn(answer: Answer): Readonly<Record<string, unknown>>[] {
  expectStatus(answer, 200);
  expectHeader(answer, 'content-type', OCI_INDEX);
  const { schemaVersion, mediaType, manifests } = jsonOf(answer);
  if (schemaVersion !== 2 || mediaType !== OCI_INDEX) fail('the list is not an image index');
  if (!Array.isArray(manifests)) fail('"manifests" is not a list');
  return manifests.map((one) => objectOf(one, 'an entry of "manifests"'));
}

/** Fails unless the list is exactly these, in any order. */
export function expectReferrers(
  found: readonly Readonly<Record<string, unknown>>[],
  wanted: readonly Descriptor[],
): void {
  const digests = found.map(({ digest }) => String(digest)).toSorted();
  const expected = wanted.map(({ digest }) => digest).toSorted();
  if (digests.join() !== expected.join()) {
    fail(`referrers ${digests.join(' ') || '(none)'} instead of ${expected.join(' ') || 'none'}`);
  }
  for (const one of wanted) {
    const entry = found.find(({ digest }) => digest === one.digest) ?? {};
    const { annotations = {}, ...rest } = entry;
    const { annotations: own = {}, ...more } = one;
    if (!isDeepStrictEqual(rest, more) || !isDeepStrictEqual(annotations, own)) {
      fail(`listed as ${JSON.stringify(entry)} instead of ${JSON.stringify(one)}`);
    }
  }
}

export async function allReferrers(repo: Repository, subject: Digest, query = '') {
  const path = `/v2/${repo.name}/referrers/${subject}${query}`;
  const pages = await linkedPages(repo.http, path);
  return pages.flatMap(referrersIn);
}

/** An artifact about a subject, pushed. */
async function attach(
  { repo }: Trial,
  subject: Descriptor,
  fields: ManifestFields,
  algorithm?: DigestAlgorithm,
): Promise<Manifest> {
  await repo.push(emptyJson());
  const unique = { 'org.example.id': randomBytes(6).toString('hex') };
  const annotations = { ...unique, ...fields.annotations };
  const artifact = imageOf(emptyJson(), [], { ...fields, subject, annotations }, algorithm);
  await repo.pushManifest(artifact);
  return artifact;
}

function absentSubject(algorithm?: DigestAlgorithm): Descriptor {
  return descriptorOf(randomBlob(123, algorithm), OCI_MANIFEST);
}

async function filtered(trial: Trial): Promise<void> {
  const subject = absentSubject();
  const thing = await attach(trial, subject, { artifactType: EXAMPLE_TYPE });
  const other = await attach(trial, subject, { artifactType: OTHER_TYPE });
  const typed = await attach(trial, subject, {});
  const cases: [type: string, wanted: Manifest[]][] = [
    [EXAMPLE_TYPE, [thing]],
    [OTHER_TYPE, [other]],
    [OCI_CONFIG, [typed]],
    ['application/vnd.example.none', []],
  ];
  await inOrder(cases, async ([type, wanted]) => {
    const query = `referrers/${subject.digest}?artifactType=${encodeURIComponent(type)}`;
    const answer = await trial.repo.ask(query);
    if (headerOf(answer, 'oci-filters-applied') === undefined) fail('the filter is not applied');
    expectHeader(answer, 'oci-filters-applied', /(?:^|,)\s*artifactType\s*(?:,|$)/);
    expectReferrers(referrersIn(answer), wanted.map(referrerOf));
  });
}

async function paged(trial: Trial): Promise<void> {
  const subject = absentSubject();
  const attached: Manifest[] = [];
  await inOrder(Array.from({ length: HEAVY.count }), async () => {
    const annotations = { 'org.example.weight': 'x'.repeat(HEAVY.bytes) };
    attached.push(await attach(trial, subject, { artifactType: EXAMPLE_TYPE, annotations }));
  });
  await inOrder(['', `?artifactType=${EXAMPLE_TYPE}`], async (query) => {
    const path = `/v2/${trial.repo.name}/referrers/${subject.digest}${query}`;
    const pages = await linkedPages(trial.http, path);
    const long = pages.find((page) => page.body.length > PAGE_MAX_BYTES);
    if (long) fail(`a page has ${long.body.length} bytes, more than a manifest may have`);
    expectReferrers(pages.flatMap(referrersIn), attached.map(referrerOf));
  });
}

/** A client that does not know the API lists referrers in an index under a tag. */
async function fallbackTag(trial: Trial): Promise<void> {
  const { repo } = trial;
  const subject = await repo.pushImage();
  const descriptor = descriptorOf(subject, subject.mediaType);
  const attached = await attach(trial, descriptor, { artifactType: EXAMPLE_TYPE });
  const later = await attach(trial, descriptor, { artifactType: OTHER_TYPE });
  const tag = subject.digest.replace(':', '-');
  const index = manifestOf(OCI_INDEX, { manifests: [referrerOf(attached), referrerOf(later)] });
  await repo.pushManifest(index, tag);
  const wanted = [attached, later].map(referrerOf);
  expectReferrers(await allReferrers(repo, subject.digest), wanted);
  const answer = await repo.ask(`manifests/${tag}`);
  expectStatus(answer, 200);
  await repo.eraseOrSkip(`manifests/${tag}`);
  expectReferrers(await allReferrers(repo, subject.digest), wanted);
}

async function deleted(trial: Trial): Promise<void> {
  const { repo } = trial;
  const subject = absentSubject();
  const [gone, kept] = [await attach(trial, subject, {}), await attach(trial, subject, {})];
  await repo.eraseOrSkip(`manifests/${gone.digest}`);
  expectReferrers(await allReferrers(repo, subject.digest), [referrerOf(kept)]);
}

async function indexes(trial: Trial): Promise<void> {
  const { repo } = trial;
  const subject = absentSubject();
  const child = await repo.pushImage();
  const plain = indexOf([child], { subject, annotations: { 'org.example.kind': 'plain' } });
  const typed = indexOf([], { artifactType: EXAMPLE_TYPE, subject });
  await repo.pushManifest(plain);
  await repo.pushManifest(typed);
  expectReferrers(await allReferrers(repo, subject.digest), [plain, typed].map(referrerOf));
}

function check(name: string, run: (trial: Trial) => Promise<void>, level: Check['level'] = 'MUST') {
  return { id: `referrers/${name}`, spec: SPEC, level, since: '1.1', run } satisfies Check;
}

/** Of a repository that nothing was pushed to; first of the run. */
export const emptyReferrersCheck: Check = check('of an empty repository', async ({ repo }) =>
  expectReferrers(referrersIn(await repo.ask(`referrers/${randomBlob(8).digest}`)), []),
);

export const referrersChecks: readonly Check[] = [
  ...(['sha256', 'sha512'] as const).flatMap((algorithm) => [
    check(`of a ${algorithm} subject that nobody names`, async ({ repo }) => {
      await repo.pushImage();
      const { digest } = randomBlob(8, algorithm);
      expectReferrers(referrersIn(await repo.ask(`referrers/${digest}`)), []);
    }),
    check(`of a ${algorithm} subject that is not here`, async (trial) => {
      const subject = absentSubject(algorithm);
      const artifact = await attach(trial, subject, { artifactType: EXAMPLE_TYPE });
      const found = await allReferrers(trial.repo, subject.digest);
      expectReferrers(found, [referrerOf(artifact)]);
    }),
  ]),
  check('that is a sha512 manifest', async (trial) => {
    const subject = absentSubject();
    const artifact = await attach(trial, subject, { artifactType: EXAMPLE_TYPE }, 'sha512');
    const found = await allReferrers(trial.repo, subject.digest);
    expectReferrers(found, [referrerOf(artifact)]);
  }),
  check('of a digest that is none', async ({ repo }) => {
    await inOrder(['sha256:baddigeststring', 'latest'], async (digest) =>
      expectStatus(await repo.ask(`referrers/${digest}`), 400),
    );
  }),
  check('type and annotations', async (trial) => {
    const subject = absentSubject();
    const annotations = { 'org.example.kind': 'signed', 'org.example.é': 'ü"\\' };
    const wanted = [
      await attach(trial, subject, { artifactType: EXAMPLE_TYPE, annotations }),
      await attach(trial, subject, { annotations }),
      await attach(trial, subject, { artifactType: '', annotations }),
    ];
    const described = wanted.map((one) => {
      const { artifactType, ...rest } = referrerOf(one);
      return { ...rest, artifactType: artifactType === '' ? OCI_CONFIG : (artifactType ?? '') };
    });
    expectReferrers(await allReferrers(trial.repo, subject.digest), described);
  }),
  check('that are indexes', indexes),
  check('by artifactType', filtered, 'SHOULD'),
  check('more than one manifest holds', paged),
  check('in a fallback tag too', fallbackTag),
  check('after one was deleted', deleted),
  check('pushed before their subject', async (trial) => {
    const { repo } = trial;
    const layer = randomBlob(30);
    await repo.pushAll([emptyJson(), layer]);
    const subject = imageOf(emptyJson(), [layer]);
    const described = descriptorOf(subject, subject.mediaType);
    const artifact = await attach(trial, described, { artifactType: EXAMPLE_TYPE });
    await repo.pushManifest(subject);
    expectReferrers(await allReferrers(repo, subject.digest), [referrerOf(artifact)]);
  }),
];
