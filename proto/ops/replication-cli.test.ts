import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runReplicationCommand } from './replication-cli.ts';

const AT = '2030-01-01T00:00:00.000Z';
const counts = { copied: 0, present: 0, skipped: 0, refused: 0, failed: 0, deleted: 0, bytes: 0 };
const EXECUTION = { id: 'e1', rule: 'r', trigger: 'manual', stopping: false, counts, made: AT };
const OPEN = { ...EXECUTION, begun: AT, ended: null };

test('who waits hears why an execution is tried again, once per reason', async () => {
  const cut = { attempt: 1, message: 'a/b: the line was cut', due: '2030-01-01T00:00:05.000Z' };
  const other = { attempt: 3, message: 'a/b: no route', due: '2030-01-01T00:00:20.000Z' };
  const answers = [
    { ...OPEN, state: 'running', attempt: 0, message: '', due: AT },
    { ...OPEN, state: 'queued', ...cut },
    { ...OPEN, state: 'queued', ...cut, attempt: 2 },
    { ...OPEN, state: 'running', ...other },
    { ...EXECUTION, begun: AT, ended: AT, state: 'done', ...other, message: '1 copied' },
  ];
  const told = { out: '', err: '' };
  const options = { json: false, wait: true, rule: undefined, state: undefined };
  const done = await runReplicationCommand(['status', 'e1'], options, {
    out: (text) => void (told.out += text),
    err: (text) => void (told.err += text),
    ask: async () => answers.shift(),
    readDocument: async () => assert.fail('no file is read'),
  });
  assert.equal(done, true);
  assert.match(told.out, /^execution e1 of r: done\n[^]*message: 1 copied\n$/);
  const lines = [
    `execution e1: attempt 1 failed: ${cut.message}; the next comes at ${cut.due}`,
    `execution e1: attempt 3 failed: ${other.message}; the next goes on now`,
  ];
  assert.equal(told.err, `${lines.join('\n')}\n`);
});
