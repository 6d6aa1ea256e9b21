import { hash } from 'node:crypto';
import type { Digest } from '../../proto/oci/digest.ts';
import type { BlobOrigin } from './port.ts';

/** What is never evicted: these digests, and whatever was asked for under these places. */
export type PinRules = { digests: ReadonlySet<Digest>; places: ReadonlySet<string> };

export const NOTHING_PINNED: PinRules = { digests: new Set(), places: new Set() };

/** The name of an origin in the index; empty for none. */
export function placeOf(origin: BlobOrigin | undefined): string {
  return origin === undefined ? '' : `${origin.namespace}/${origin.repository}`;
}

export function isPinned(rules: PinRules, digest: Digest, place: string): boolean {
  return rules.digests.has(digest) || rules.places.has(place);
}

/** Differs when the rules differ. */
export function pinsText(rules: PinRules): string {
  const text = [...rules.digests].sort().join('\n');
  return hash('sha256', `${text}\n\n${[...rules.places].sort().join('\n')}`);
}
