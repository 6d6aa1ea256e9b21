// What SQLite syncs, as the kernel sees it: its settings are promises too.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { run } from '../rig/processes.ts';
import { findProgram } from '../rig/requirements.ts';

const ROOT = path.join(import.meta.dirname, '..', '..');
const skip = !findProgram('strace') && 'needs strace: see test/rig/install.sh';

/** Runs a program that says words; writes and syncs of files, and the words, in their order. */
async function traced(t: TestContext, program: string): Promise<string[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-traced-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const trace = path.join(folder, 'trace');
  const calls = 'trace=fsync,fdatasync,write,pwrite64,pwritev';
  const strace = ['strace', '-f', '-y', '-e', calls, '-o', trace];
  const source = `const say = (word) => process.stdout.write('said ' + word); ${program}`;
  const words = ['--input-type=module', '--eval', source, folder];
  await run([...strace, process.execPath, ...words], { cwd: ROOT });
  const lines = (await readFile(trace, 'utf8')).split('\n');
  return lines.flatMap((line) => {
    const word = /"said (\w+)"/.exec(line)?.[1];
    if (word !== undefined) return [word];
    const [, call, file] = /\b(\w+)\(\d+<([^>]*)>/.exec(line) ?? [];
    if (call === undefined || !file?.startsWith(folder)) return [];
    return [`${call.includes('sync') ? 'sync' : 'write'} ${path.basename(file)}`];
  });
}

function between(events: readonly string[], from: string, to: string): string[] {
  assert.ok(events.includes(from) && events.includes(to), events.join());
  return events.slice(events.indexOf(from) + 1, events.indexOf(to));
}

test('a change of the catalog is synced before anybody is told', { skip }, async (t) => {
  const events = await traced(
    t,
    `import { openSqliteCatalog } from './hub/catalog/sqlite-catalog.ts';
    const catalog = await openSqliteCatalog({ path: process.argv[1] + '/catalog.sqlite' });
    const digest = 'sha256:' + 'a'.repeat(64);
    const blob = { digest, size: 1, root: Buffer.alloc(32), hashes: Buffer.alloc(0) };
    for (const word of ['first', 'second', 'third']) {
      say(word);
      await catalog.addBlob(blob, 'team/' + word);
    }
    say('end');`,
  );
  const words = ['first', 'second', 'third', 'end'];
  for (const [i, word] of words.slice(0, -1).entries()) {
    const calls = between(events, word, words[i + 1] ?? '');
    assert.ok(calls.includes('write catalog.sqlite-wal'), calls.join());
    assert.equal(calls.at(-1), 'sync catalog.sqlite-wal', calls.join());
  }
});

test('an agent syncs what its index says of itself', { skip }, async (t) => {
  const events = await traced(
    t,
    `import { IndexFile } from './agent/store/index-file.ts';
    const path = process.argv[1] + '/index.sqlite';
    say('opens');
    const index = IndexFile.open(path, 'boot-1');
    say('opened');
    index.close();
    say('closed');`,
  );
  const opening = between(events, 'opens', 'opened');
  assert.equal(
    opening.findLast((call) => call.endsWith('.sqlite')),
    'sync index.sqlite',
  );
  const closing = between(events, 'opened', 'closed');
  assert.ok(closing.includes('sync index.sqlite'), closing.join());
});
