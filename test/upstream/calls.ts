import type { DockerHubOptions } from './docker-hub.ts';
import type { FaultRule } from './faults.ts';
import type { ImagePlan } from './images.ts';
import type { PullLimit } from './pull-counts.ts';

/** What the stand-in is started with, as one JSON argument of its program. */
export type StartOptions = Pick<DockerHubOptions, 'places' | 'accounts'> & {
  anonymousLimit?: PullLimit;
  certFile?: string;
  keyFile?: string;
};

/** What the stand-in in a process of its own is told, one JSON line each. */
export type Call =
  | { call: 'addImage'; plan: ImagePlan }
  | { call: 'tag'; repository: string; tag: string; digest?: string }
  | { call: 'own'; repository: string; account?: string }
  | { call: 'fault'; rules: readonly FaultRule[] }
  /** Without a limit there is none any more. */
  | { call: 'limit'; limit?: PullLimit }
  | { call: 'report' }
  | { call: 'forget' };

export type Answer = { id: number; result?: unknown; error?: string };
