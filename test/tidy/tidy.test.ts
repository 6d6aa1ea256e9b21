import { test } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { forbiddenIn } from './forbidden.ts';
import { importsOf } from './imports.ts';
import { LAYER_RULES } from './layers.ts';
import { ROOT, isProduct, sourceFiles, textFiles } from './source-files.ts';
import { deadLinks } from './links.ts';

const LINE_CHARS_MAX = 100;
const sources = sourceFiles();

test('rooms import only what the layer rule allows', () => {
  const broken = sources
    .flatMap(importsOf)
    .flatMap((entry) =>
      LAYER_RULES.filter((rule) => rule.breaks(entry)).map(
        (rule) => `${entry.file}:${entry.line} imports ${entry.target}: ${rule.why}`,
      ),
    );
  assert.deepEqual(broken, []);
});

test('drivers are imported by their composition root only', () => {
  const drivers = /^hub\/(blobs\/(filesystem|memory|s3)|catalog\/(sqlite|postgres))[\w-]*\.ts$/;
  const broken = sources
    .flatMap(importsOf)
    .filter((entry) => isProduct(entry.file) && drivers.test(entry.target) && !entry.type)
    .filter((entry) => path.dirname(entry.file) !== path.dirname(entry.target))
    .filter(
      (entry) =>
        !['hub/hub.ts', 'hub/check/check-hub.ts', 'hub/backup/restore-hub.ts'].includes(entry.file),
    )
    .map((entry) => `${entry.file}:${entry.line} imports ${entry.target}`);
  assert.deepEqual(broken, []);
});

test('every local import names a file of the project', () => {
  const known = new Set(textFiles());
  const missing = sources
    .flatMap(importsOf)
    .filter((entry) => entry.local && !known.has(entry.target))
    .map((entry) => `${entry.file}:${entry.line} imports ${entry.target}`);
  assert.deepEqual(missing, []);
});

test('files and functions stay short, without default exports, any or barrels', () => {
  const config = path.join('test', 'tidy', 'oxlintrc.json');
  const program = path.join(ROOT, 'node_modules', '.bin', 'oxlint');
  const paths = ['bin', 'proto', 'hub', 'agent', 'test', 'bench'];
  const args = ['-c', config, '--format', 'unix', ...paths];
  const result = spawnSync(program, args, { cwd: ROOT, encoding: 'utf8' });
  const findings = result.stdout.split('\n').filter((line) => /:\d+:\d+:/.test(line));
  assert.deepEqual(findings, []);
  assert.equal(result.status, 0, result.stderr + result.stdout);
});

test('forbidden constructs stay out, each with its replacement', () => {
  assert.deepEqual(sources.flatMap(forbiddenIn), []);
});

test('no line is longer than the printed page', () => {
  const long = sources.flatMap(({ file, text }) =>
    text
      .split('\n')
      .map((line, index) => ({ chars: line.length, where: `${file}:${index + 1}` }))
      .filter(({ chars }) => chars > LINE_CHARS_MAX)
      .map(({ chars, where }) => `${where} has ${chars} characters`),
  );
  assert.deepEqual(long, []);
});

test('documents have one title and no dead links', () => {
  const documents = textFiles().filter((file) => file.endsWith('.md'));
  assert.ok(documents.includes('README.md'));
  assert.deepEqual(documents.flatMap(deadLinks), []);
  for (const file of documents) {
    const text = readFileSync(path.join(ROOT, file), 'utf8').replaceAll(/^```[^]*?^```/gm, '');
    assert.equal(text.match(/^# /gm)?.length, 1, `${file} needs exactly one title`);
  }
});

test('no file names the machine it was made on or a package registry', () => {
  const machine = new RegExp(
    ['/wor[k]/\\w', '/root/', '/home/\\w', '/tmp/bash', 'registry\\.npmjs', 'deb\\.debian'].join(
      '|',
    ),
  );
  const found = textFiles()
    .filter((file) => file !== 'test/tidy/tidy.test.ts')
    .flatMap((file) =>
      readFileSync(path.join(ROOT, file), 'utf8')
        .split('\n')
        .flatMap((line, index) =>
          machine.test(line) ? [`${file}:${index + 1} ${line.trim()}`] : [],
        ),
    );
  assert.deepEqual(found, []);
});
