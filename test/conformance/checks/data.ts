import type { Digest, DigestAlgorithm } from '../../../proto/oci/digest.ts';
import {
  describeAnswer,
  errorCodesOf,
  expectBody,
  expectHeader,
  expectHeaderIfAny,
  expectStatus,
} from '../answer.ts';
import { fail, inOrder, skip, type Check, type Trial } from '../check.ts';
import { referrerOf, type Descriptor } from '../content.ts';
import { DATA_SETS, DataSet, DOCKER_SETS, SPARSE_SETS } from '../data-set.ts';
import { expectDigestHeader, expectManifest, type Repository } from '../repository.ts';
import { allReferrers, expectReferrers } from './referrers.ts';
import { putWithTags } from './tag-parameters.ts';
import { allTags } from './tags.ts';

type Fill = (set: DataSet) => void;

/** A set that the first check of a run pushes and the others look at. */
class PushedSet {
  readonly set: DataSet;
  #pushed = false;

  constructor(algorithm: DigestAlgorithm, fill: Fill) {
    this.set = new DataSet(algorithm);
    fill(this.set);
  }

  async push(trial: Trial, sparse: boolean): Promise<void> {
    const { repo } = trial;
    await repo.pushAll(this.set.blobs);
    await inOrder(this.set.manifests, async ({ manifest, tags }) => {
      if (sparse) await expectTaken(repo, manifest);
      else await repo.pushManifest(manifest);
      await inOrder(tags, (tag) => this.#tag(trial, manifest, tag));
    });
    this.#pushed = true;
  }

  /** The repository with the set in it; skips what would only tell the same failure again. */
  in({ repo }: Trial): Repository {
    return this.#pushed ? repo : skip('the set could not be pushed');
  }

  /** Tags that are there: only tag parameters lead a tag to a digest that is not sha256. */
  async tags(trial: Trial): Promise<string[]> {
    const all = this.set.manifests.flatMap(({ tags }) => tags);
    if (this.set.algorithm === 'sha256') return all;
    if (trial.spec !== 'dev') return [];
    const listed = new Set(await allTags(trial.repo));
    return all.filter((tag) => listed.has(tag));
  }

  async #tag(trial: Trial, manifest: Parameters<typeof putWithTags>[1], tag: string) {
    if (this.set.algorithm === 'sha256') await trial.repo.pushManifest(manifest, tag);
    else if (trial.spec === 'dev') {
      expectStatus(await putWithTags(trial.repo, manifest, [tag]), 201);
    }
  }
}

/** Names content that is not here: refused for that reason, the set is not for this registry. */
async function expectTaken(repo: Repository, manifest: Parameters<Repository['pushManifest']>[0]) {
  const answer = await repo.putManifest(manifest.digest, manifest);
  const refused = answer.status === 400 || answer.status === 404;
  if (refused && errorCodesOf(answer).every((code) => code === 'MANIFEST_BLOB_UNKNOWN')) {
    skip('a manifest may only name what is here');
  }
  if (answer.status !== 201) fail(describeAnswer(answer));
  await repo.pushManifest(manifest);
}

async function pull(pushed: PushedSet, trial: Trial): Promise<void> {
  const repo = pushed.in(trial);
  const present = await pushed.tags(trial);
  await inOrder(pushed.set.manifests, async ({ manifest, tags }) => {
    const references = [manifest.digest, ...tags.filter((tag) => present.includes(tag))];
    await inOrder(references, async (reference) =>
      expectManifest(await repo.ask(`manifests/${reference}`), manifest),
    );
  });
  await inOrder(pushed.set.blobs, async ({ digest, bytes }) => {
    const answer = await repo.ask(`blobs/${digest}`);
    expectStatus(answer, 200);
    expectBody(answer, bytes);
  });
}

async function head(pushed: PushedSet, trial: Trial): Promise<void> {
  const repo = pushed.in(trial);
  const present = await pushed.tags(trial);
  await inOrder(pushed.set.manifests, async ({ manifest, tags }) => {
    const references = [manifest.digest, ...tags.filter((tag) => present.includes(tag))];
    await inOrder(references, async (reference) => {
      const answer = await repo.head(`manifests/${reference}`);
      expectStatus(answer, 200);
      expectHeader(answer, 'content-type', manifest.mediaType);
      expectHeaderIfAny(answer, 'content-length', String(manifest.bytes.length));
      expectDigestHeader(answer, manifest.digest);
    });
  });
  await inOrder(pushed.set.blobs, async ({ digest, bytes }) => {
    const answer = await repo.head(`blobs/${digest}`);
    expectStatus(answer, 200);
    expectHeaderIfAny(answer, 'content-length', String(bytes.length));
  });
}

async function list(pushed: PushedSet, trial: Trial): Promise<void> {
  const wanted = await pushed.tags(trial);
  const found = await allTags(pushed.in(trial));
  const missing = wanted.filter((tag) => !found.includes(tag));
  if (missing.length > 0) fail(`the list lacks ${missing.join(' ')}`);
}

async function referrers(pushed: PushedSet, trial: Trial): Promise<void> {
  const repo = pushed.in(trial);
  const wanted = new Map<Digest, Descriptor[]>();
  for (const { manifest } of pushed.set.manifests) {
    const { subject } = manifest.fields;
    if (subject === undefined) continue;
    wanted.set(subject.digest, [...(wanted.get(subject.digest) ?? []), referrerOf(manifest)]);
  }
  await inOrder(wanted, async ([subject, descriptors]) =>
    expectReferrers(await allReferrers(repo, subject), descriptors),
  );
}

/** Tags, then manifests from the outside in, then blobs: each gone as soon as it was deleted. */
async function erase(pushed: PushedSet, trial: Trial): Promise<void> {
  const repo = pushed.in(trial);
  await inOrder(await pushed.tags(trial), (tag) => eraseOne(repo, `manifests/${tag}`));
  await inOrder(pushed.set.manifests.toReversed(), ({ manifest }) =>
    eraseOne(repo, `manifests/${manifest.digest}`),
  );
  const digests = new Set(pushed.set.blobs.map(({ digest }) => digest));
  await inOrder(digests, (digest) => eraseOne(repo, `blobs/${digest}`));
}

async function eraseOne(repo: Repository, tail: string): Promise<void> {
  await repo.eraseOrSkip(tail);
  expectStatus(await repo.ask(tail), 404);
}

function checksOf(
  algorithm: DigestAlgorithm,
  name: string,
  fill: Fill,
  kind: 'usual' | 'docker' | 'sparse',
): Check[] {
  const pushed = new PushedSet(algorithm, fill);
  const level = ({ usual: 'MUST', docker: 'SHOULD', sparse: 'MAY' } as const)[kind];
  const one = (step: string, spec: string, run: (trial: Trial) => Promise<void>): Check => {
    return { id: `data/${name}/${algorithm}/${step}`, spec, level, since: '1.1', run };
  };
  const { manifests } = pushed.set;
  const tagged = manifests.some(({ tags }) => tags.length > 0);
  const attached = manifests.some(({ manifest }) => manifest.fields.subject !== undefined);
  return [
    one('push', 'Pushing Manifests', (trial) => pushed.push(trial, kind === 'sparse')),
    one('head', 'Checking if content exists in the registry', (trial) => head(pushed, trial)),
    one('pull', 'Pulling manifests', (trial) => pull(pushed, trial)),
    ...(tagged ? [one('list', 'Listing Tags', (trial) => list(pushed, trial))] : []),
    ...(attached ? [one('referrers', 'Listing Referrers', (t) => referrers(pushed, t))] : []),
    { ...one('delete', 'Content Management', (trial) => erase(pushed, trial)), level: 'MAY' },
  ];
}

/** Every kind of content, pushed, looked at and deleted; fresh content at each call. */
export function dataChecks(algorithm: DigestAlgorithm): Check[] {
  const all = (sets: Readonly<Record<string, Fill>>, kind: 'usual' | 'docker' | 'sparse') =>
    Object.entries(sets).flatMap(([name, fill]) => checksOf(algorithm, name, fill, kind));
  return [...all(DATA_SETS, 'usual'), ...all(DOCKER_SETS, 'docker'), ...all(SPARSE_SETS, 'sparse')];
}
