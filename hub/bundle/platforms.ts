import type { Descriptor, Platform } from '../../proto/oci/manifest.ts';
import { fitsPlatforms, parsePlatform } from '../../proto/oci/platform.ts';
import { BundleError } from './errors.ts';

/** What build tools write into an index for attestations: the image that one is about. */
const ABOUT = 'vnd.docker.reference.digest';

/** @throws BundleError IMAGE_INVALID */
export function chosenPlatform(text: string): Platform {
  const platform = parsePlatform(text);
  if (platform !== undefined) return platform;
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
    return annotations?.[ABOUT] === undefined && fitsPlatforms(platform, platforms);
  };
  const chosen = new Set(manifests.filter(isChosen).map(({ digest }) => String(digest)));
  return manifests.filter((one) => {
    const about = one.annotations?.[ABOUT];
    if (about !== undefined) return chosen.has(about);
    return one.platform === undefined || chosen.has(one.digest);
  });
}
