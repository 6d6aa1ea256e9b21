import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { readConfigFile } from './config-file.ts';

test('a configuration that comes through a pipe in parts is read to its end', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-config-'));
  t.after(() => rm(folder, { recursive: true }));
  const pipe = path.join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const read = readConfigFile(pipe);
  const writer = await open(pipe, 'w');
  // More than a pipe holds: the writer ends only when the reader took some of it.
  const text = `a: ${'x'.repeat(200_000)}\nb: 1\n`;
  await writer.writeFile(text);
  await writer.close();
  assert.equal(await read, text);
});
