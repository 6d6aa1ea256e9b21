import type { RegistryClient } from '../../proto/distribution/registry-client.ts';
import type { Digest } from '../../proto/oci/digest.ts';
import type { Reference, Repository } from '../../proto/oci/name.ts';
import { hasCode } from '../../proto/std/errors.ts';
import { MirrorError, unavailable, type UnavailableReason } from './errors.ts';
import type { AskOptions, ManifestBytes, ManifestHead, Origin } from './ports.ts';

type Client = Pick<RegistryClient, 'headManifest' | 'getManifest' | 'headBlob'>;

/** The hub or an upstream over the registry protocol, its failures in the mirror's words. */
export class RegistryOrigin implements Origin {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async headManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions,
  ): Promise<ManifestHead | undefined> {
    const head = await this.#ask(this.#client.headManifest(repository, reference, o));
    if (head === undefined || head.size > 0) return head;
    // Some registries tell no length; a runtime that is told 0 would believe it.
    const whole = await this.getManifest(repository, reference, o);
    return whole && { ...whole, size: whole.bytes.length };
  }

  getManifest(
    repository: Repository,
    reference: Reference,
    o: AskOptions,
  ): Promise<ManifestBytes | undefined> {
    return this.#ask(this.#client.getManifest(repository, reference, o));
  }

  headBlob(
    repository: Repository,
    digest: Digest,
    o: AskOptions,
  ): Promise<{ size: number } | undefined> {
    return this.#ask(this.#client.headBlob(repository, digest, o));
  }

  async #ask<T>(call: Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await call;
    } catch (err) {
      const status = statusOf(err);
      // A registry that hides what is private says 403 where others say 404.
      if (status === 403) return undefined;
      if (status !== 401 && !hasCode(err, 'AUTH_FAILED')) {
        const message = 'the registry behind this mirror did not answer';
        throw unavailable(reasonOf(err, status), message, { cause: err });
      }
      throw new MirrorError(
        'the registry wants credentials',
        { code: 'UNAUTHORIZED', challenge: challengeOf(err) },
        { cause: err },
      );
    }
  }
}

function reasonOf(err: unknown, status: number | undefined): UnavailableReason {
  if (fieldOf(err, 'away') !== undefined) return 'upstream';
  if (status === 429 || status === 503) return 'busy';
  return isSilence(err, status) ? 'unreachable' : 'source';
}

/** No word of the registry itself: nobody there, or something before it that could not ask it. */
function isSilence(err: unknown, status: number | undefined): boolean {
  if (status !== undefined) return status >= 500 || status === 408;
  return hasCode(err, 'UNREACHABLE', 'TIMEOUT', 'BODY_SHORT');
}

/** Stands in for the hub of an agent that has none: nothing is there. */
export const noOrigin: Origin = {
  headManifest: () => Promise.resolve(undefined),
  getManifest: () => Promise.resolve(undefined),
  headBlob: () => Promise.resolve(undefined),
};

function statusOf(err: unknown): number | undefined {
  const status = fieldOf(err, 'status');
  return typeof status === 'number' ? status : undefined;
}

/** The registry's own WWW-Authenticate header. */
function challengeOf(err: unknown): string | undefined {
  const challenge = fieldOf(err, 'challenge');
  return typeof challenge === 'string' ? challenge : undefined;
}

function fieldOf(err: unknown, name: string): unknown {
  if (typeof err !== 'object' || err === null || !('data' in err)) return undefined;
  const { data } = err;
  if (typeof data !== 'object' || data === null) return undefined;
  return new Map(Object.entries(data)).get(name);
}
