import type { Platform } from './manifest.ts';

const TEXT = /^([a-z0-9_.-]+)\/([a-z0-9_.-]+)(?:\/([a-z0-9_.-]+))?$/;

/** Reads `linux/amd64` or `linux/arm/v7`; undefined for what is no platform. */
export function parsePlatform(text: string): Platform | undefined {
  const [, os, architecture, variant] = TEXT.exec(text) ?? [];
  if (os === undefined || architecture === undefined) return undefined;
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

/** What parsePlatform reads. */
export function platformText({ os, architecture, variant = '' }: Platform): string {
  return [os, architecture, ...(variant === '' ? [] : [variant])].join('/');
}

/** Whether a platform is one of those; one that is wanted without variant is there in any. */
export function fitsPlatforms(
  platform: Platform | undefined,
  wanted: readonly Platform[],
): boolean {
  return wanted.some(
    ({ os, architecture, variant }) =>
      platform?.os === os &&
      platform.architecture === architecture &&
      (variant === undefined || platform.variant === variant),
  );
}
