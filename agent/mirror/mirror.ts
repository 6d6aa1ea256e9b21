import type { Digest } from '../../proto/oci/digest.ts';
import type { Logger } from '../../proto/ops/logger.ts';
import type { MetricsRegistry } from '../../proto/ops/metrics.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { Blobs } from './blobs.ts';
import {
  HUB_RIGHTS_TTL_MS,
  RIGHTS_MAX,
  RIGHTS_TTL_MS,
  STALLED_DIGESTS_MAX,
  STALL_MEMORY_MS,
} from './constants.ts';
import { MirrorHandler } from './handler.ts';
import { Manifests } from './manifests.ts';
import { createMirrorMetrics } from './metrics.ts';
import type { NamespaceRules, Target } from './namespace.ts';
import type { MirrorConfig } from './options.ts';
import type {
  ContentSource,
  GrantSource,
  HubTokenReader,
  LocalContent,
  Origin,
  TagSource,
} from './ports.ts';
import { RightsBook } from './rights.ts';
import { loadSendFile } from './sendfile.ts';
import type { SendFile } from './sendfile.ts';
import { startMirrorServer } from './server.ts';
import type { MirrorServer } from './server.ts';
import { StaleTags } from './stale-tags.ts';
import { StallBook } from './stalls.ts';

export type MirrorModules = {
  local: LocalContent;
  content: ContentSource;
  grants: GrantSource;
  hubTokens: HubTokenReader;
  originOf: (target: Target) => Origin;
  /** What the hub stated about tags; undefined for an agent in no fleet. */
  tags?: TagSource | undefined;
  metrics: MetricsRegistry;
  logger: Logger;
};

export type Mirror = {
  urls: readonly string[];
  /** The server behind `urls`. */
  server: MirrorServer;
  /** Requests being answered. */
  running(): number;
  /** New requests get 503; resolves when the running ones have ended, cut when `limit` aborts. */
  drain(limit: AbortSignal): Promise<void>;
  close(): Promise<void>;
};

/**
 * Starts the registry endpoint for the container runtime of this node.
 * @throws OpsError LISTEN_INVALID, LISTEN_FAILED
 */
export async function startMirror(
  options: MirrorConfig & { rules: NamespaceRules; now?: () => number },
  modules: MirrorModules,
): Promise<Mirror> {
  const { local, logger } = modules;
  const clock = options.now === undefined ? {} : { now: options.now };
  const rights = new RightsBook({
    max: RIGHTS_MAX,
    ttlMs: RIGHTS_TTL_MS,
    hubTtlMs: HUB_RIGHTS_TTL_MS,
    ...clock,
  });
  const stalls = new StallBook({
    max: STALLED_DIGESTS_MAX,
    memoryMs: STALL_MEMORY_MS,
    progressOf: (digest: Digest) =>
      (local.find(digest) ?? local.growing?.(digest))?.have.count ?? 0,
    ...clock,
  });
  const mirrorMetrics = createMirrorMetrics(modules.metrics);
  const staleTags = new StaleTags(
    { maxAgeMs: options.staleTagMaxAge, headersTimeoutMs: options.headersTimeout },
    { tags: modules.tags, metrics: mirrorMetrics, logger },
  );
  const handler = new MirrorHandler(
    {
      rules: options.rules,
      requestsMax: options.requestsMax,
      headersTimeoutMs: options.headersTimeout,
      bodyStallTimeoutMs: options.bodyStallTimeout,
      clientStallTimeoutMs: options.clientStallTimeout,
    },
    {
      manifests: new Manifests({ ...modules, rights, staleTags }),
      blobs: new Blobs({ ...modules, rights, stalls }),
      stalls,
      sendFile: options.sendfile ? openSendFile(logger) : undefined,
      metrics: mirrorMetrics,
      logger,
    },
  );
  const server = await startMirrorServer({ listen: options.listen }, { handler, logger });
  return {
    urls: server.urls,
    server,
    running: () => handler.running,
    drain: (limit) => handler.drain(limit),
    close: () => server.close(),
  };
}

/** undefined where it does not work; then nothing but speed is lost. */
function openSendFile(logger: Logger): SendFile | undefined {
  try {
    return loadSendFile();
  } catch (err) {
    const remedy = 'none needed: blobs are sent through memory, which takes more CPU';
    logger.info({ reason: messageOf(err), remedy }, 'no sendfile on this platform');
    return undefined;
  }
}
