import { pino } from 'pino';
import type { DestinationStream, Logger as PinoLogger } from 'pino';
import { CAUSES_MAX } from '../std/constants.ts';
import { LOG_FIELD_MAX_CHARS } from './constants.ts';

/** What modules log with: constant messages, data in fields. */
export type Logger = PinoLogger;

/** Levels from quiet to loud, as written in `log.level`. */
export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Field names whose values are never written, at the top of an entry and one level below. */
const SECRET_FIELDS = [
  'authorization',
  'Authorization',
  'cookie',
  'password',
  'passwordHash',
  'secret',
  'token',
  'joinToken',
  'credentials',
  'privateKey',
  'headers.authorization',
  'headers.cookie',
];

/**
 * A JSON logger on standard output, or on `destination`. Secrets are replaced by `[redacted]`,
 * errors keep code, message and causes, and no string field is longer than LOG_FIELD_MAX_CHARS.
 */
export function createLogger(
  options: { level: LogLevel; name: string },
  destination?: DestinationStream,
): Logger {
  const settings = {
    level: options.level,
    name: options.name,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: {
      paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]),
      censor: '[redacted]',
    },
    formatters: {
      level: (label: string) => ({ level: label }),
      log: boundFields,
    },
    serializers: { err: (err: unknown) => serializeError(err) },
  };
  return destination === undefined ? pino(settings) : pino(settings, destination);
}

function boundFields(fields: Record<string, unknown>): Record<string, unknown> {
  let bounded = fields;
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value === 'string' && value.length > LOG_FIELD_MAX_CHARS) {
      if (bounded === fields) bounded = { ...fields };
      bounded[key] = cut(value);
    }
  }
  return bounded;
}

/** Errors by code and message; the stack only for faults without a code, which are our bugs. */
function serializeError(err: unknown, depth = 1): unknown {
  if (!(err instanceof Error)) return err;
  const code = 'code' in err ? err.code : undefined;
  const told = err.cause instanceof Error && depth < CAUSES_MAX;
  const cause = told ? serializeError(err.cause, depth + 1) : undefined;
  return {
    type: err.name,
    message: cut(err.message),
    ...(typeof code === 'string' ? { code } : { stack: cut(err.stack ?? '') }),
    ...(cause === undefined ? {} : { cause }),
  };
}

function cut(text: string): string {
  return text.length > LOG_FIELD_MAX_CHARS ? `${text.slice(0, LOG_FIELD_MAX_CHARS)}…` : text;
}
