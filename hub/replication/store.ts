import type { ArtifactCounts } from './copy.ts';
import type { Transfers } from './place.ts';
import type { StoredRule } from './rule.ts';

export type ArtifactState =
  | 'copying'
  | 'copied'
  | 'present'
  | 'skipped'
  | 'refused'
  | 'failed'
  | 'deleted';

/** What became of one artifact in one execution. */
export type ArtifactResult = {
  repository: string;
  /** A tag or a digest. */
  reference: string;
  destination: string;
  digest: string | undefined;
  state: ArtifactState;
  message: string;
  counts: ArtifactCounts;
  attempts: number;
};

export type ResultPage = {
  n: number;
  /** The one the page before ended with. */
  last?: { repository: string; reference: string } | undefined;
  state?: string | undefined;
};

/** Rules, results and half-copied blobs, shared by all hubs of a catalog. */
export interface ReplicationStore extends Transfers {
  rules(): Promise<StoredRule[]>;
  rule(name: string): Promise<StoredRule | undefined>;
  addRule(rule: StoredRule, limits: { max: number }): Promise<'ok' | 'exists' | 'full'>;
  /** False when there is no such rule. */
  changeRule(rule: StoredRule): Promise<boolean>;
  dropRule(name: string): Promise<boolean>;
  noteResult(execution: string, result: ArtifactResult): Promise<void>;
  /** By repository and reference. */
  results(execution: string, page: ResultPage): Promise<(ArtifactResult & { changedMs: number })[]>;
  /** What became of artifacts so far, by `repository reference`. */
  states(execution: string): Promise<Map<string, ArtifactState>>;
  /** Forgets half-copied blobs that nobody has gone on with for so long. */
  sweepTransfers(olderThanMs: number): Promise<void>;
}
