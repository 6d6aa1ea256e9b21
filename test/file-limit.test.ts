import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const LIMIT_MS = 2500;
const GIVE_UP_MS = 60_000;

/** Never ends, not even when asked to, and neither does what it starts. */
const ENDLESS = `
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
test('is done', () => {});
process.on('SIGTERM', () => {});
const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
writeFileSync(new URL('child', import.meta.url), String(child.pid));
`;
const ORDERLY = `
import { test } from 'node:test';
test('comes after it', () => {});
`;

test('a test file that does not end is ended, with what it started, and told as failed', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'flotilla-file-limit-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = ['a-endless', 'b-orderly'].map((name) => path.join(folder, `${name}.test.mjs`));
  const [endless = '', orderly = ''] = files;
  writeFileSync(endless, ENDLESS);
  writeFileSync(orderly, ORDERLY);
  const script = `
    import { run } from 'node:test';
    import { limitFiles } from ${JSON.stringify(path.join(import.meta.dirname, 'file-limit.ts'))};
    const files = ${JSON.stringify(files)};
    const limit = limitFiles(files, ${LIMIT_MS}, (file) => console.log('late', file));
    for await (const { type, data } of run({ files, concurrency: 1 })) {
      if (type === 'test:pass' || type === 'test:fail') console.log(type, data.name);
    }
    limit[Symbol.dispose]();
  `;
  // A runner inside a test file would skip the files.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const runner = path.join(folder, 'runner.mjs');
  writeFileSync(runner, script);
  const options = { encoding: 'utf8', env, timeout: GIVE_UP_MS } as const;
  const { stdout } = spawnSync(process.execPath, [runner], options);
  assert.deepEqual(stdout.trim().split('\n'), [
    'test:pass is done',
    `late ${endless}`,
    `test:fail ${endless}`,
    'test:pass comes after it',
  ]);
  assert.equal(isRunning(readFileSync(path.join(folder, 'child'), 'utf8')), false);
});

/** Not one that only waits for its parent to notice its end. */
function isRunning(pid: string): boolean {
  const file = `/proc/${pid}/stat`;
  return existsSync(file) && !/\) [ZX] /.test(readFileSync(file, 'utf8'));
}
