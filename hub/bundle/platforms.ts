import type { Descriptor, Platform } from '../../proto/oci/manifest.ts';
import { BundleError } from './errors.ts';

/** What build tools write into an index for attestations: the image that one is about. */
const ABOUT = 'vnd.docker.reference.digest';

/** Reads `linux/arm64` or `linux/arm/v7`. @throws BundleError IMAGE_INVALID */
export function parsePlatform(text: string): Platform {
  const [, os = '', architecture = '', variant] =
    /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text) ?? [];
  if (os !== '') return { os, architecture, ...(variant === undefined ? {} : { variant }) };
  const message = `"${text}" is no platform: write linux/amd64 or linux/arm/v7`;
  throw new BundleError(message, { code: 'IMAGE_INVALID', image: text });
}

/**
 * The manifests of an index that are for these platforms, with what is about them, and those that
 * are for none. Without platforms, all.
 */
export function chosenOf(
  manifests: readonly Descriptor[],
  platforms: readonly Platform[],
): readonly Descriptor[] {
  if (platforms.length === 0) return manifests;
  const isChosen = ({ platform, annotations }: Descriptor): boolean => {
    if (platform === undefined || annotations?.[ABOUT] !== undefined) return false;
    return platforms.some((wanted) => fits(platform, wanted));
  };
  const chosen = new Set(manifests.filter(isChosen).map(({ digest }) => String(digest)));
  return manifests.filter((one) => {
    const about = one.annotations?.[ABOUT];
    if (about !== undefined) return chosen.has(about);
    return one.platform === undefined || chosen.has(one.digest);
  });
}

function fits(platform: Platform, wanted: Platform): boolean {
  if (platform.os !== wanted.os || platform.architecture !== wanted.architecture) return false;
  return wanted.variant === undefined || platform.variant === wanted.variant;
}
