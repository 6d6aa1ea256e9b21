import type { Static, TObject } from 'typebox';
import { hasCode } from '../std/errors.ts';
import { readBuildInfo } from './build-info.ts';
import type { BuildInfo } from './build-info.ts';
import { loadConfig } from './config.ts';
import { EXIT } from './exit-codes.ts';
import { createLogger } from './logger.ts';
import type { Logger, LogLevel } from './logger.ts';
import { runUntilSignal } from './shutdown.ts';

/** A program that has started and answers. */
export type RunningProgram = {
  /** Takes no new work; resolves when running work has ended, or was cut after `deadline`. */
  drain(deadline: AbortSignal): Promise<void>;
  /** How long running work may take to end by itself. */
  drainMs: number;
  /** Ends everything that is left, after the drain. */
  close(): Promise<void>;
  /** Settles when the program cannot go on. */
  failed?: Promise<unknown>;
};

export type ProgramParts<S extends TObject> = {
  kind: 'hub' | 'agent';
  schema: S;
  logLevel(config: Static<S>): LogLevel;
  start(config: Static<S>, base: { logger: Logger; build: BuildInfo }): Promise<RunningProgram>;
};

/**
 * Runs one program from its configuration to its exit code: 0 after a clean drain, 1 when it
 * could not start or failed.
 * @throws ConfigError before anything was started
 */
export async function runProgram<S extends TObject>(
  parts: ProgramParts<S>,
  input: { text?: string; source?: string; env: Record<string, string | undefined> },
): Promise<number> {
  const config = loadConfig(parts.schema, { ...input, kind: parts.kind });
  const build = readBuildInfo();
  const logger = createLogger({ level: parts.logLevel(config), name: parts.kind });
  const { version, revision, node } = build;
  logger.info({ version, revision, node }, 'starting');
  let running: RunningProgram;
  try {
    running = await parts.start(config, { logger, build });
  } catch (err) {
    if (hasCode(err, 'CONFIG_INVALID')) throw err;
    logger.fatal({ err }, 'could not start');
    return EXIT.failure;
  }
  const { drainMs, failed } = running;
  return runUntilSignal({
    drain: async (deadline) => {
      await running.drain(deadline);
      await running.close();
    },
    drainMs,
    logger,
    ...(failed === undefined ? {} : { failed }),
  });
}
