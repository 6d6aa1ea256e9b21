import { digestAlgorithm, digestHex, type Digest } from '../oci/digest.ts';
import { parseManifest, type Descriptor } from '../oci/manifest.ts';
import { parseReference, parseTag, type Reference } from '../oci/name.ts';
import { parseStrictJson } from '../std/strict-json.ts';
import { LINK_MAX_CHARS } from './constants.ts';
import { distributionError } from './errors.ts';

const NEXT = /<([^>]*)>\s*;[^,<]*\brel="?next"?/i;
/** Of the algorithm and of the rest (distribution-spec "Referrers Tag Schema"). */
const FALLBACK_CHARS = [32, 64] as const;

/**
 * The path of the next page in a Link header (RFC 8288), which must be of the registry itself;
 * undefined when this page is the last. @throws DistributionError REDIRECT_REFUSED
 */
export function nextPage(link: string, page: URL): string | undefined {
  const target = link.length > LINK_MAX_CHARS ? undefined : NEXT.exec(link)?.[1];
  if (target === undefined) return undefined;
  const url = URL.canParse(target, page.href) ? new URL(target, page) : undefined;
  if (url?.origin === page.origin && url.pathname.startsWith('/v2/')) {
    return url.pathname + url.search;
  }
  const data = { code: 'REDIRECT_REFUSED', host: url?.host ?? '' } as const;
  throw distributionError(data, `${page.host} says that the next page is at another host`);
}

/** The tags in an answer of tags/list; what is no tag is left out. @throws DistributionError */
export function tagsOf(bytes: Buffer): string[] {
  const value = jsonOf(bytes);
  const tags = new Map(typeof value === 'object' && value !== null ? Object.entries(value) : []);
  const list: unknown = tags.get('tags') ?? [];
  if (!Array.isArray(list) || !tags.has('tags')) throw invalid('is no list of tags');
  return list.filter((tag): tag is string => typeof tag === 'string' && isTag(tag));
}

/** The descriptors in an image index. @throws DistributionError ANSWER_INVALID */
export function referrersOf(bytes: Buffer): readonly Descriptor[] {
  const parsed = parsedIndex(bytes);
  if (parsed.kind === 'index') return parsed.manifests;
  throw invalid('is no list of referrers');
}

/** The tag that lists referrers in a registry without a list of its own. */
export function fallbackTag(subject: Digest): Reference {
  const [algorithm, rest] = FALLBACK_CHARS;
  const head = digestAlgorithm(subject).slice(0, algorithm);
  return parseReference(`${head}-${digestHex(subject).slice(0, rest)}`);
}

function parsedIndex(bytes: Buffer): ReturnType<typeof parseManifest> {
  try {
    return parseManifest(bytes);
  } catch (err) {
    throw invalid('is no image index', err);
  }
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (err) {
    throw invalid('is no JSON', err);
  }
}

function isTag(text: string): boolean {
  try {
    return parseTag(text) === text;
  } catch {
    return false;
  }
}

function invalid(what: string, cause?: unknown): Error {
  return distributionError({ code: 'ANSWER_INVALID' }, `the answer ${what}`, cause);
}
