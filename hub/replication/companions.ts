import { digestAlgorithm, digestHex, isDigest, type Digest } from '../../proto/oci/digest.ts';
import { parseTag, type Tag } from '../../proto/oci/name.ts';

/** How cosign names what belongs to a manifest, where it keeps it under a tag. */
const SUFFIXES = ['.sig', '.att', '.sbom'] as const;
const COMPANION = /^(sha256|sha512)-([0-9a-f]{64,128})(?:\.(?:sig|att|sbom))?$/;

/** Tags that cosign gives to signatures, attestations and SBOMs of a manifest. */
export function companionTags(subject: Digest): Tag[] {
  const stem = `${digestAlgorithm(subject)}-${digestHex(subject)}`;
  return SUFFIXES.map((suffix) => `${stem}${suffix}`)
    .filter((text) => text.length <= TAG_MAX_CHARS)
    .map(parseTag);
}

/**
 * The manifest that a tag belongs to by its name: those of cosign, and the one that lists referrers
 * (distribution-spec "Referrers Tag Schema"). Such tags travel with that manifest.
 */
export function subjectOfTag(tag: string): Digest | undefined {
  const [, algorithm = '', hex = ''] = COMPANION.exec(tag) ?? [];
  const digest = `${algorithm}:${hex}`;
  return isDigest(digest) ? digest : undefined;
}

const TAG_MAX_CHARS = 128;
