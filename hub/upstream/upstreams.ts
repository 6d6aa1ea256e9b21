import { ociError } from '../../proto/oci/errors.ts';
import { parseRepository, segmentOf, type Repository } from '../../proto/oci/name.ts';
import { fitsGlob } from '../access/glob.ts';
import type { Upstream, UpstreamNames, UpstreamPlace, UpstreamPolicy, Upstreams } from './port.ts';
import { remoteName } from './presets.ts';

export type UpstreamEntry = { names: UpstreamNames; policy: UpstreamPolicy; upstream: Upstream };

/** The configured upstreams, found by their hosts and aliases. */
export class UpstreamSet implements Upstreams {
  readonly names: readonly string[];
  readonly all: readonly UpstreamNames[];
  readonly #byName: ReadonlyMap<string, UpstreamEntry>;

  constructor(entries: readonly UpstreamEntry[]) {
    this.all = entries.map(({ names }) => names);
    this.names = this.all.map(({ name }) => name);
    this.#byName = new Map(
      entries.flatMap((entry) => {
        const { name, alias } = entry.names;
        return alias === undefined ? [[name, entry]] : [[name, entry] as const, [alias, entry]];
      }),
    );
  }

  nameOf(hostOrAlias: string): string | undefined {
    return this.#byName.get(segmentOf(hostOrAlias))?.names.name;
  }

  placeOf(repository: Repository): UpstreamPlace | undefined {
    const slash = repository.indexOf('/');
    const first = slash < 0 ? repository : repository.slice(0, slash);
    const entry = this.#byName.get(segmentOf(first));
    if (entry === undefined || slash < 0) {
      if (!first.includes('.')) return undefined;
      throw ociError(
        'NAME_UNKNOWN',
        `${first} is no upstream of this hub; see its setting upstreams`,
      );
    }
    const { names, policy, upstream } = entry;
    const remote = parseRepository(remoteName(names.name, repository.slice(slash + 1)));
    if (!isAllowed(policy.repositories, remote)) {
      throw ociError('NAME_UNKNOWN', `this hub does not pull ${remote} of ${names.host}`);
    }
    const own = parseRepository(`${names.name}/${remote}`);
    return { upstream, policy, repository: own, remote };
  }
}

/** Whether the configuration lets a repository be pulled; no globs allow all. */
export function isAllowed(globs: readonly string[], remote: string): boolean {
  return globs.length === 0 || globs.some((glob) => fitsGlob(glob, remote));
}
