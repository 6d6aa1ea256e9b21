import { test } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { collectLimits, renderLimits } from './limits.ts';
import { ROOT } from './source-files.ts';

test('LIMITS.md lists every bound of the code with its value', async () => {
  const text = readFileSync(path.join(ROOT, 'LIMITS.md'), 'utf8');
  const tables = renderLimits(await collectLimits());
  const missing = tables.split('\n').filter((line) => !text.includes(line));
  assert.deepEqual(missing, [], 'run npm run limits');
});

test('every bound says what it is for', async () => {
  const silent = (await collectLimits()).filter(({ meaning }) => meaning === '');
  assert.deepEqual(
    silent.map(({ room, name }) => `${room}: ${name} has no comment`),
    [],
  );
});
