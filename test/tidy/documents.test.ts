import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { AgentOptions } from '../../agent/options.ts';
import { HubOptions } from '../../hub/options.ts';
import { loadConfig } from '../../proto/ops/config.ts';
import { ROOT, sourceFiles, textFiles } from './source-files.ts';

const FENCE = /^```(\w+)\n([^]*?)^```$/gm;
/** A file or folder of ours, in code type; a pattern is none. */
const PLACE = /`((?:proto|hub|agent|bin|bench|test|daemonset)\/[\w./-]+)`/g;
const LAUNCHER = path.join(ROOT, 'bin', 'flotilla');

type Block = { file: string; language: string; text: string };

const documents = textFiles().filter((file) => file.endsWith('.md'));
const blocks: Block[] = documents.flatMap((file) =>
  [...readFileSync(path.join(ROOT, file), 'utf8').matchAll(FENCE)].map((match) => {
    return { file, language: match[1] ?? '', text: match[2] ?? '' };
  }),
);

test('every configuration in a document is one the program takes', () => {
  const shown = blocks.flatMap((block) => {
    const kind = /^kind: (hub|agent)$/m.exec(block.text)?.[1];
    return block.language === 'yaml' && kind !== undefined ? [{ ...block, kind }] : [];
  });
  assert.ok(shown.length >= 2, 'README shows a configuration of the hub and one of the agent');
  for (const { file, text, kind } of shown) {
    const schema = kind === 'hub' ? HubOptions : AgentOptions;
    assert.doesNotThrow(() => loadConfig(schema, { text, source: file, env: {} }), file);
  }
});

test('every command in a document is one the program knows', () => {
  const commands = blocks
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => [
      ...text.matchAll(/bin\/flotilla ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)*)/g),
    ])
    .map((match) => match[1] ?? '');
  assert.ok(commands.length > 0);
  for (const command of new Set(commands)) {
    const words = command.split(' ').filter((word) => !word.includes('.'));
    const help = spawnSync(LAUNCHER, [...words, '--help'], { encoding: 'utf8' });
    assert.equal(help.status, 0, `flotilla ${command} --help: ${help.stderr}`);
  }
});

test('every script in a document is one of the package', () => {
  const scripts = Object.keys(
    JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')).scripts,
  );
  for (const file of documents) {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    for (const [, name = ''] of text.matchAll(/npm run ([a-z][a-z:-]*)/g)) {
      assert.ok(scripts.includes(name), `${file} names the script ${name}`);
    }
  }
});

test('every file a document names is there, every room is on the map with where to begin', () => {
  const dead = documents.flatMap((file) => {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    return [...text.matchAll(PLACE)].flatMap(([, place = '']) =>
      existsSync(path.join(ROOT, place)) ? [] : [`${file}: ${place}`],
    );
  });
  assert.deepEqual(dead, []);
  const map = readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8');
  const rooms = sourceFiles().map(({ file }) => file.split('/').slice(0, 2).join('/'));
  const folders = new Set(rooms.filter((room) => !room.endsWith('.ts')));
  assert.deepEqual(
    [...folders].filter((room) => !map.includes(`\`${room}\``)),
    [],
  );
  for (const [, room = '', entries = ''] of map.matchAll(/^\| `([^`]+)` \|.*\| (`.*`) \|$/gm)) {
    for (const [, entry = ''] of entries.matchAll(/`([^`]+)`/g)) {
      assert.ok(existsSync(path.join(ROOT, room, entry)), `${room}/${entry}`);
    }
  }
});

test('no document holds a place that was to be filled in', () => {
  for (const file of documents) {
    assert.doesNotMatch(readFileSync(path.join(ROOT, file), 'utf8'), /@@|<<[A-Z]|\bTBD\b/, file);
  }
});
