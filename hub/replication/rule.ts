import type { RuleSettings } from '../../proto/hubapi/replication.ts';
import type { Platform } from '../../proto/oci/manifest.ts';
import { parseRepository, type Repository } from '../../proto/oci/name.ts';
import { parsePlatform, platformText } from '../../proto/oci/platform.ts';
import { fitsGlob, isGlob } from '../access/glob.ts';
import { parseCron } from '../jobs/cron.ts';
import { ARTIFACT_ATTEMPTS, ARTIFACTS_AT_ONCE } from './constants.ts';
import { invalidRule, refused } from './errors.ts';
import { linearRegex } from './linear-regex.ts';
import { semverRange } from './semver-range.ts';

/** A rule as it is kept. */
export type StoredRule = {
  name: string;
  enabled: boolean;
  settings: RuleSettings;
  changedMs: number;
};

/** A rule that was read and understood. */
export type Rule = {
  name: string;
  direction: 'push' | 'pull';
  registry: string;
  /** As the source names them. */
  repositories: readonly string[];
  choosesRepository: (repository: string) => boolean;
  choosesTag: (tag: string) => boolean;
  /** undefined: any. */
  artifactTypes: readonly string[] | undefined;
  annotations: Readonly<Record<string, string>>;
  /** What a repository is called at the destination. @throws ReplicationError REFUSED */
  destinationOf: (repository: Repository) => Repository;
  /** Several repositories may have one name there. */
  flattens: boolean;
  /** Empty: all. */
  platforms: readonly Platform[];
  platformPolicy: 'refuse' | 'children';
  override: boolean;
  mirrors: boolean;
  referrers: boolean;
  schedule: string | undefined;
  onPush: boolean;
  bytesPerSecond: number | undefined;
  concurrency: number;
  attempts: number;
};

/** @throws ReplicationError INVALID; JobError CRON_INVALID */
export function parseRule(name: string, settings: RuleSettings): Rule {
  const { direction, repositories, excludedRepositories = [], schedule, onPush = false } = settings;
  for (const glob of [...repositories, ...excludedRepositories]) {
    if (!isGlob(glob)) throw invalidRule(`"${glob}" is no pattern for repositories`);
  }
  if (schedule !== undefined) parseCron(schedule);
  if (onPush && direction === 'pull') {
    throw invalidRule('onPush is for rules that push; another registry tells nobody of its pushes');
  }
  const choosesRepository = (repository: string): boolean =>
    repositories.some((glob) => fitsGlob(glob, repository) && isMeant(glob, repository)) &&
    !excludedRepositories.some((glob) => fitsGlob(glob, repository));
  /** What this hub keeps of upstreams is in parts: it is pushed when it is named. */
  const isMeant = (glob: string, repository: string): boolean =>
    direction === 'pull' || !hasHost(repository) || hasHost(glob);
  return {
    name,
    direction,
    registry: settings.registry,
    repositories,
    choosesRepository,
    choosesTag: tagFilter(settings.tags ?? {}),
    artifactTypes: settings.artifactTypes,
    annotations: settings.annotations ?? {},
    destinationOf: naming(settings),
    flattens: (settings.dropSegments ?? 0) !== 0,
    platforms: (settings.platforms ?? []).flatMap((text) => parsePlatform(text) ?? []),
    platformPolicy: settings.platformPolicy ?? 'refuse',
    override: settings.override ?? true,
    mirrors: settings.deletion === 'mirror',
    referrers: settings.referrers ?? true,
    schedule,
    onPush,
    bytesPerSecond: settings.bandwidth,
    concurrency: settings.concurrency ?? ARTIFACTS_AT_ONCE,
    attempts: settings.attempts ?? ARTIFACT_ATTEMPTS,
  };
}

function tagFilter(tags: NonNullable<RuleSettings['tags']>): (tag: string) => boolean {
  const { globs, regex, semver, excluded = [] } = tags;
  for (const glob of [...(globs ?? []), ...excluded]) {
    if (!/^[A-Za-z0-9._*-]+$/.test(glob)) throw invalidRule(`"${glob}" is no pattern for tags`);
  }
  const all: ((tag: string) => boolean)[] = [];
  if (globs !== undefined) all.push((tag) => globs.some((glob) => fitsGlob(glob, tag)));
  if (regex !== undefined) all.push(linearRegex(regex));
  if (semver !== undefined) all.push(semverRange(semver));
  return (tag) => all.every((fits) => fits(tag)) && !excluded.some((glob) => fitsGlob(glob, tag));
}

/** @throws ReplicationError INVALID for a namespace that is none */
function naming({
  namespace = '',
  dropSegments = 0,
  direction,
}: RuleSettings): Rule['destinationOf'] {
  if (namespace !== '') {
    try {
      parseRepository(namespace);
    } catch (err) {
      throw invalidRule(`the namespace "${namespace}" is no name of a repository: ${String(err)}`);
    }
  }
  return (repository) => {
    const parts = repository.split('/');
    const drop = dropSegments < 0 ? parts.length - 1 : Math.min(dropSegments, parts.length - 1);
    const rest = parts.slice(drop).join('/');
    const name = namespace === '' ? rest : `${namespace}/${rest}`;
    if (direction === 'pull' && hasHost(name)) {
      throw refused(`${name} begins with a host, which is reserved for upstreams; set a namespace`);
    }
    try {
      return parseRepository(name);
    } catch {
      throw refused(`${name} is too long for the name of a repository`);
    }
  };
}

/** Names of content of upstreams begin with a host. */
function hasHost(name: string): boolean {
  return name.split('/', 1)[0]?.includes('.') === true;
}

/** What is behind a tag for an image that goes without its index. */
export function platformSuffix(platform: Platform): string {
  return `-${platformText(platform).replaceAll('/', '-')}`;
}

/** The tag of an index whose image for one of these platforms this would be, without variant. */
export function indexTagsOf(tag: string, platforms: readonly Platform[]): string[] {
  return platforms.flatMap(({ os, architecture }) => {
    const at = tag.lastIndexOf(platformSuffix({ os, architecture }));
    return at > 0 ? [tag.slice(0, at)] : [];
  });
}

/** What a repository is called at the destination, where it may be there at all. */
export function nameOf(rule: Rule, from: Repository): Repository | undefined {
  try {
    return rule.destinationOf(from);
  } catch {
    return undefined;
  }
}
