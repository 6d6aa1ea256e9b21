import type { Descriptor } from '../../proto/oci/manifest.ts';
import { fitsPlatforms, parsePlatform, platformText } from '../../proto/oci/platform.ts';

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
};

/** The platform of this node, as images name it. */
export function ownPlatform(arch: string = process.arch): string {
  return `linux/${ARCHITECTURES[arch] ?? arch}`;
}

/**
 * The manifests of an index for these platforms, `os/architecture[/variant]`: without a variant
 * any of them. What names no platform belongs to all.
 */
export function forPlatforms(
  manifests: readonly Descriptor[],
  platforms: readonly string[],
): Descriptor[] {
  if (platforms.includes('all')) return [...manifests];
  const wanted = platforms.flatMap((text) => parsePlatform(text) ?? []);
  return manifests.filter(({ platform }) => {
    return platform === undefined || fitsPlatforms(platform, wanted);
  });
}

/** What platforms an index has, for a person. */
export function platformsOf(manifests: readonly Descriptor[]): string {
  const all = manifests.flatMap(({ platform }) =>
    platform === undefined || platform.os === 'unknown' ? [] : [platformText(platform)],
  );
  return [...new Set(all)].sort().join(', ') || 'none';
}
