import type { RegistryClient } from '../../proto/distribution/registry-client.ts';
import type { RegistryPeer } from '../../proto/distribution/registry-peer.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Descriptor } from '../../proto/oci/manifest.ts';
import {
  parseRepository,
  parseTag,
  type Reference,
  type Repository,
  type Tag,
} from '../../proto/oci/name.ts';
import { JobError } from '../jobs/errors.ts';
import { LIST_PAGES_MAX, PAGE } from './constants.ts';
import { refused, sourceLacks } from './errors.ts';
import type { FoundManifest, ReplicationSource, Waiting } from './place.ts';

type Modules = { client: RegistryClient; peer: RegistryPeer };

/** Another registry, to copy from. */
export class RemoteSource implements ReplicationSource {
  readonly #name: string;
  readonly #modules: Modules;

  /** `name`: what the operator calls it. */
  constructor(options: { name: string }, modules: Modules) {
    this.#name = options.name;
    this.#modules = modules;
  }

  /** Only patterns make it necessary that the registry lists its repositories. */
  async *repositories(globs: readonly string[], { signal }: Waiting): AsyncIterable<Repository> {
    const exact = globs.filter((glob) => !glob.includes('*'));
    yield* exact.map(parseRepository);
    if (exact.length === globs.length) return;
    let next: string | undefined;
    for (let pages = 0; pages < LIST_PAGES_MAX; pages += 1) {
      // oxlint-disable-next-line no-await-in-loop -- one page names the next
      const page = await this.#modules.peer.repositories(next, { signal });
      if (page === undefined) {
        throw refused(
          `${this.#name} does not list its repositories; name them in the rule without *`,
        );
      }
      yield* page.repositories.filter((name) => !exact.includes(name));
      next = page.next;
      if (next === undefined) return;
    }
    throw endless('repositories');
  }

  tags(repository: Repository, o: Waiting): AsyncIterable<Tag> {
    return remoteTags(this.#modules.client, repository, o);
  }

  tagged(repository: Repository, tag: Tag, o: Waiting): Promise<Digest | undefined> {
    return remoteTagged(this.#modules.client, repository, tag, o);
  }

  manifest(
    repository: Repository,
    reference: Reference,
    { signal }: Waiting,
  ): Promise<FoundManifest | undefined> {
    return this.#modules.client.getManifest(repository, reference, { signal });
  }

  async hasBlob(repository: Repository, digest: Digest, { signal }: Waiting): Promise<boolean> {
    return (await this.#modules.client.headBlob(repository, digest, { signal })) !== undefined;
  }

  openBlob(
    repository: Repository,
    digest: Digest,
    { signal, start, end }: Waiting & { start: number; end?: number },
  ): Promise<{ size: number; body: AsyncIterable<Buffer> } | undefined> {
    const range = { ...(start === 0 ? {} : { start }), ...(end === undefined ? {} : { end }) };
    return this.#modules.client.openBlob(repository, digest, { signal, ...range });
  }

  async referrers(
    repository: Repository,
    subject: Digest,
    { signal }: Waiting,
  ): Promise<readonly Descriptor[]> {
    return (await this.#modules.client.referrers(repository, subject, { signal })) ?? [];
  }
}

/**
 * The tags of a repository of another registry; none of one that it does not know.
 * @throws ReplicationError SOURCE_LACKS when the list breaks off
 */
export async function* remoteTags(
  client: RegistryClient,
  repository: Repository,
  { signal }: Waiting,
): AsyncIterable<Tag> {
  let page: { n: number } | { next: string } = { n: PAGE };
  for (let pages = 0; pages < LIST_PAGES_MAX; pages += 1) {
    // oxlint-disable-next-line no-await-in-loop -- one page names the next
    const found = await client.tagPage(repository, page, { signal });
    if (found === undefined && 'next' in page) {
      throw sourceLacks(`the registry breaks off in the middle of the tags of ${repository}`);
    }
    yield* (found?.tags ?? []).map(parseTag);
    if (found?.next === undefined) return;
    page = { next: found.next };
  }
  throw endless(`tags of ${repository}`);
}

function endless(what: string): JobError {
  const message = `the list of ${what} does not come to an end`;
  return new JobError(message, { code: 'JOB_HOPELESS' });
}

/** What a tag names at another registry; asks for the manifest where HEAD does not tell. */
export async function remoteTagged(
  client: RegistryClient,
  repository: Repository,
  tag: Tag,
  { signal }: Waiting,
): Promise<Digest | undefined> {
  const reference = { kind: 'tag', tag } as const;
  const head = await client.headManifest(repository, reference, { signal });
  if (head === undefined || head.digest !== undefined) return head?.digest;
  return (await client.getManifest(repository, reference, { signal }))?.digest;
}
