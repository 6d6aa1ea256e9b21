import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger } from './logger.ts';
import { OutageLog } from './outage-log.ts';

test('an outage is told at its begin and at its end, each once', () => {
  const told: string[] = [];
  const write = (line: string): void => {
    const { level, msg, reason, seconds } = JSON.parse(line);
    told.push(`${level} ${msg}: ${reason ?? seconds}`);
  };
  const logger = createLogger({ level: 'info', name: 'hub' }, { write });
  let nowMs = 1_000;
  const outage = new OutageLog({ what: 'PostgreSQL', now: () => nowMs }, { logger });
  outage.worked();
  for (const reason of ['connection refused', 'timeout', 'timeout']) outage.failed(reason);
  nowMs += 2_500;
  outage.worked();
  outage.worked();
  outage.failed('closed');
  assert.deepEqual(told, [
    'warn PostgreSQL does not answer: connection refused',
    'info PostgreSQL answers again: 2.5',
    'warn PostgreSQL does not answer: closed',
  ]);
});
