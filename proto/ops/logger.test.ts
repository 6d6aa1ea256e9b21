import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createLogger } from './logger.ts';
import type { Logger } from './logger.ts';
import { LOG_FIELD_MAX_CHARS } from './constants.ts';

type Entry = {
  level: string;
  token?: string;
  path?: string;
  err?: { code: string; message: string; cause: { code: string } };
};

function logged(write: (logger: Logger) => void): Entry {
  const lines: string[] = [];
  const logger = createLogger(
    { level: 'info', name: 'test' },
    { write: (line) => void lines.push(line) },
  );
  write(logger);
  assert.equal(lines.length, 1);
  const entry: Entry = JSON.parse(lines[0] ?? '');
  return entry;
}

test('secrets are never written, neither in fields nor one level below', () => {
  const entry = logged((logger) =>
    logger.info(
      { token: 'secret-1', headers: { authorization: 'secret-2' }, user: { password: 'secret-3' } },
      'request',
    ),
  );
  assert.ok(!JSON.stringify(entry).includes('secret-'));
  assert.equal(entry.token, '[redacted]');
});

test('errors keep code and cause, and no field grows without bound', () => {
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  const err = Object.assign(new Error('x'.repeat(LOG_FIELD_MAX_CHARS * 2), { cause }), {
    code: 'A',
  });
  const entry = logged((logger) => logger.warn({ err, path: 'y'.repeat(100_000) }, 'failed'));
  assert.equal(entry.level, 'warn');
  assert.equal(entry.err?.code, 'A');
  assert.equal(entry.err?.cause.code, 'ECONNREFUSED');
  assert.ok((entry.err?.message.length ?? 0) <= LOG_FIELD_MAX_CHARS + 1);
  assert.ok(String(entry.path).length <= LOG_FIELD_MAX_CHARS + 1);
});

test('every long field is cut, and an error that is its own cause is written', () => {
  const long = 'y'.repeat(LOG_FIELD_MAX_CHARS * 2);
  const entry = logged((logger) => logger.warn({ path: long, token: 'x', reason: long }, 'failed'));
  assert.ok(JSON.stringify(entry).length < 3 * LOG_FIELD_MAX_CHARS);
  const err = new Error('round');
  err.cause = err;
  assert.match(JSON.stringify(logged((logger) => logger.warn({ err }, 'failed'))), /round/);
});

test('entries below the level are not written', () => {
  const lines: string[] = [];
  const logger = createLogger(
    { level: 'warn', name: 'test' },
    { write: (line) => void lines.push(line) },
  );
  logger.info({}, 'quiet');
  assert.deepEqual(lines, []);
});
