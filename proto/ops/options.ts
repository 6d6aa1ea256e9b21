import { Type } from 'typebox';
import { Duration, Listen } from './config.ts';
import { LISTENERS_MAX } from './constants.ts';
import { LOG_LEVELS } from './logger.ts';

/** The section `log` of both programs. */
export const LogOptions = Type.Object(
  {
    level: Type.Enum([...LOG_LEVELS], {
      description: 'how much is logged; debug shows every request',
      default: 'info',
    }),
  },
  { description: 'logging, JSON on standard output', default: {} },
);

/** The section `ops` of a program that serves it on this port of the loopback. */
export function opsOptions(port: number) {
  return Type.Object(
    {
      listen: Type.Array(Listen({ description: 'an address of this machine' }), {
        description: 'where /metrics, /healthz and /readyz are served',
        default: [`127.0.0.1:${port}`, `[::1]:${port}`],
        minItems: 1,
        maxItems: LISTENERS_MAX,
      }),
      drainTimeout: Duration({
        description: 'time for running answers to end after SIGTERM, then they are cut',
        default: '30s',
        minimum: 0,
        maximum: 3_600_000,
      }),
    },
    { description: 'metrics, health and shutdown', default: {} },
  );
}
