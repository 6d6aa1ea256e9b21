import { test } from 'node:test';
import assert from 'node:assert/strict';
import { Type } from 'typebox';
import type { LogLevel } from './logger.ts';
import { runProgram } from './program.ts';
import type { ProgramParts } from './program.ts';

const schema = Type.Object({ name: Type.String({ default: 'x' }) });
type Start = ProgramParts<typeof schema>['start'];

function silent(): LogLevel {
  return 'silent';
}

function run(start: Start, text?: string): Promise<number> {
  const parts = { kind: 'agent', schema, logLevel: silent, start } as const;
  return runProgram(parts, { env: {}, ...(text === undefined ? {} : { text }) });
}

test('a signal drains, then closes, then the exit code is 0', async () => {
  const steps: string[] = [];
  const start: Start = async (config) => {
    steps.push(`start ${config.name}`);
    setImmediate(() => process.emit('SIGTERM'));
    return {
      drainMs: 1_000,
      drain: async () => void steps.push('drain'),
      close: async () => void steps.push('close'),
    };
  };
  assert.equal(await run(start, 'name: y\n'), 0);
  assert.deepEqual(steps, ['start y', 'drain', 'close']);
});

test('a program that cannot start ends with 1', async () => {
  assert.equal(await run(() => Promise.reject(new Error('port taken'))), 1);
});

test('nothing starts under a configuration that is not valid', async () => {
  const steps: string[] = [];
  const start: Start = async () => {
    steps.push('start');
    throw new Error('started');
  };
  await assert.rejects(run(start, 'nmae: y\n'), { code: 'CONFIG_INVALID' });
  assert.deepEqual(steps, []);
});
