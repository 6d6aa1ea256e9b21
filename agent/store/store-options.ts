import type { Logger } from '../../proto/ops/logger.ts';
import type { StoreMetrics } from './metrics.ts';
import type { PinRules } from './pins.ts';
import type { ScrubOptions } from './scrubber.ts';

type ScrubSetting = ScrubOptions & { isBusy?: () => boolean };

export type StoreOptions = {
  /** Folder of the store; made with mode 0700. */
  dataDir: string;
  /** Most bytes promised to blobs; undefined: a share of what is free and in use by us. */
  quotaBytes?: number | undefined;
  /** Shares of the quota between which blobs leave in the background. */
  highWater?: number;
  lowWater?: number;
  entriesMax?: number;
  /** Content folder of containerd, shared without a copy. */
  containerdContent?: string | undefined;
  /** What is never evicted. */
  pins?: PinRules;
  /** How content is hashed again in the background; without it, it is not. */
  scrub?: ScrubSetting;
  /** Names the kernel run; for tests. */
  bootId?: string;
  now?: () => number;
};

export type StoreModules = { logger: Logger; metrics: StoreMetrics };

/** Without a setting nothing is hashed again. */
export const NO_SCRUB: ScrubSetting = { periodMs: 0, rateBytes: 1 };
