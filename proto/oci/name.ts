import { HOST_MAX_CHARS } from './constants.ts';
import { isDigest, parseDigest, type Digest } from './digest.ts';
import { ociError } from './errors.ts';

declare const REPOSITORY: unique symbol;
declare const TAG: unique symbol;

export type Repository = string & { readonly [REPOSITORY]: true };
export type Tag = string & { readonly [TAG]: true };
export type Reference = { kind: 'tag'; tag: Tag } | { kind: 'digest'; digest: Digest };
export type ImageReference = { host: string; repository: Repository; tag?: Tag; digest?: Digest };

/** Longest repository name accepted, characters. */
export const REPOSITORY_MAX_CHARS = 255;

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG_PATTERN = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const HOST_PATTERN = /^([a-z0-9]+(?:(?:\.|-+)[a-z0-9]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/;
const PORT_MAX = 65_535;
const HUB_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** A repository name by the distribution-spec grammar. @throws OciError NAME_INVALID */
export function parseRepository(text: string): Repository {
  if (isRepository(text)) return text;
  throw ociError('NAME_INVALID', 'repository name does not follow the OCI grammar');
}

/** Whether the text is the name of a repository. */
export function isRepository(text: string): text is Repository {
  if (text.length > REPOSITORY_MAX_CHARS) return false;
  return text.split('/').every((part) => COMPONENT.test(part));
}

/** @throws OciError TAG_INVALID */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text;
  throw ociError('TAG_INVALID', 'tag does not follow the OCI grammar');
}

function isTag(text: string): text is Tag {
  return TAG_PATTERN.test(text);
}

/** A tag or a digest. @throws OciError DIGEST_INVALID, TAG_INVALID */
export function parseReference(text: string): Reference {
  if (!text.includes(':')) return { kind: 'tag', tag: parseTag(text) };
  if (isDigest(text)) return { kind: 'digest', digest: text };
  throw ociError('DIGEST_INVALID', 'reference is neither a tag nor a supported digest');
}

export function referenceText(reference: Reference): string {
  return reference.kind === 'tag' ? reference.tag : reference.digest;
}

/** The host a registry is known by: lower case, Docker Hub's aliases as `docker.io`. */
export function canonicalHost(host: string): string {
  const lower = host.toLowerCase();
  return HUB_HOSTS.has(lower) ? 'docker.io' : lower;
}

/**
 * What stands for a host as the first segment of a repository of the hub. The port follows a dot,
 * since names of repositories have no colon; no other host is written so.
 */
export function segmentOf(host: string): string {
  return canonicalHost(host).replace(':', '.');
}

/** Whether a repository of the hub stands for one of an upstream: its name begins with a host. */
export function isOfUpstream(repository: string): boolean {
  return repository.slice(0, repository.indexOf('/')).includes('.');
}

/**
 * Reads what one types after `docker pull`: no host means docker.io, no path there means library/.
 *
 * @throws OciError NAME_INVALID, TAG_INVALID, DIGEST_INVALID
 */
export function parseImageReference(text: string): ImageReference {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1));
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(':');
  const tagged = colon > rest.lastIndexOf('/');
  const tag = tagged ? parseTag(rest.slice(colon + 1)) : undefined;
  const path = tagged ? rest.slice(0, colon) : rest;
  const slash = path.indexOf('/');
  const first = slash < 0 ? '' : path.slice(0, slash);
  const hosted = /[.:]/.test(first) || first === 'localhost';
  const host = hosted ? parseHost(first) : 'docker.io';
  const name = hosted ? path.slice(slash + 1) : path;
  const full = host === 'docker.io' && !name.includes('/') ? `library/${name}` : name;
  return {
    host,
    repository: parseRepository(full),
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/**
 * A host name, IPv4 address or `[IPv6]` with an optional port, in its canonical form. One that URLs
 * take for another host, such as 127.1, is refused.
 */
function parseHost(text: string): string {
  const match = text.length <= HOST_MAX_CHARS ? HOST_PATTERN.exec(text.toLowerCase()) : null;
  const [, given = '', port] = match ?? [];
  const url = `https://${given}/`;
  const name = match && URL.canParse(url) ? new URL(url).hostname : '';
  const named = name !== '' && (name === given || given.startsWith('['));
  const ported = port === undefined || (Number(port) > 0 && Number(port) <= PORT_MAX);
  if (named && ported) return canonicalHost(port === undefined ? name : `${name}:${Number(port)}`);
  throw ociError('NAME_INVALID', 'what stands before the first slash is not a registry host');
}
