import { CodedError } from '../../proto/std/errors.ts';
import type { RegistryHttp } from './registry-http.ts';
import type { Repository } from './repository.ts';

/** How strongly the specification asks. What is MAY is skipped when a registry does not have it. */
export type Level = 'MUST' | 'SHOULD' | 'MAY';

/** The last release of the distribution-spec, or its main branch. */
export const SPEC_VERSIONS = ['1.1', 'dev'] as const;
export type SpecVersion = (typeof SPEC_VERSIONS)[number];

/** What a check works with: two repositories of its run. */
export type Trial = {
  http: RegistryHttp;
  repo: Repository;
  other: Repository;
  spec: SpecVersion;
};

/** One rule, tried on a registry. */
export type Check = {
  id: string;
  /** Section of the distribution-spec as its main branch names it, or of another document. */
  spec: string;
  level: Level;
  /** The first version of the specification that has the rule. */
  since: SpecVersion;
  /** @throws CheckError; anything else thrown counts as a failure too */
  run(trial: Trial): Promise<void>;
};

/** Why a check did not pass: the registry breaks the rule, or lacks what the rule is about. */
export class CheckError extends CodedError<{ code: 'FAILED' } | { code: 'SKIPPED' }> {}

export function fail(message: string): never {
  throw new CheckError(message, { code: 'FAILED' });
}

export function skip(reason: string): never {
  throw new CheckError(reason, { code: 'SKIPPED' });
}

/** Runs a task for each item, one after the other. */
export async function inOrder<T>(
  items: Iterable<T>,
  task: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let index = 0;
  for (const item of items) {
    // oxlint-disable-next-line no-await-in-loop -- the order is what the caller wants
    await task(item, index);
    index += 1;
  }
}
