import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf } from './digest.ts';
import {
  canonicalHost,
  parseImageReference,
  parseReference,
  parseRepository,
  parseTag,
  referenceText,
} from './name.ts';

const DIGEST = digestOf(Buffer.from('x'));

test('repository names of the grammar are taken as they are', () => {
  for (const name of ['a', 'library/alpine', 'a_b', 'a__b', 'a.b', 'a-b', 'a---b', '0/1/2/3']) {
    assert.equal(parseRepository(name), name);
  }
  assert.ok(parseRepository('a'.repeat(255)));
});

test('repository names outside the grammar are refused', () => {
  const wrong = [
    ['', '/', 'a/', '/a', 'a//b', '.', '..', 'a/../b', 'a/./b', '../etc/passwd', 'a/..'],
    ['A', 'aB', 'a___b', 'a..b', 'a._b', '_a', 'a_', '-a', 'a-', '.a', 'a.', 'a_-b', 'ä'],
    ['a%2fb', 'a%2Fb', '..%2f', '%00', 'a b', 'a\n', 'a\0b', 'a:b', 'a@b', 'a\\b', 'a?b', 'K'],
    'a'.repeat(256),
  ].flat();
  for (const name of wrong) {
    assert.throws(() => parseRepository(name), { code: 'NAME_INVALID', status: 400 }, name);
  }
});

test('a name made to keep a matcher busy is refused at once', () => {
  for (const part of ['a-', 'a--', 'a_', 'a.', 'a/']) {
    assert.throws(() => parseRepository(`${part.repeat(100)}!`), { code: 'NAME_INVALID' });
  }
});

test('tags have at most 128 characters of their alphabet', () => {
  for (const tag of ['latest', '_', 'V1.2-3', '0'.repeat(128)]) assert.equal(parseTag(tag), tag);
  for (const tag of ['', '.a', '-a', 'a/b', 'a b', 'a:b', 'ä', 'a\n', '0'.repeat(129), '..']) {
    assert.throws(() => parseTag(tag), { code: 'TAG_INVALID', status: 400 }, tag);
  }
});

test('a reference is a tag or a digest and is written as it was read', () => {
  for (const text of ['latest', DIGEST, digestOf(Buffer.from('x'), 'sha512')]) {
    assert.equal(referenceText(parseReference(text)), text);
  }
  assert.equal(parseReference(DIGEST).kind, 'digest');
  assert.throws(() => parseReference('sha256:baddigeststring'), { code: 'DIGEST_INVALID' });
  assert.throws(() => parseReference(DIGEST.toUpperCase()), { code: 'DIGEST_INVALID' });
  assert.throws(() => parseReference(''), { code: 'TAG_INVALID' });
});

const IMAGES: readonly [text: string, host: string, repository: string, tag?: string][] = [
  ['alpine', 'docker.io', 'library/alpine'],
  ['alpine:3.20', 'docker.io', 'library/alpine', '3.20'],
  ['team/app', 'docker.io', 'team/app'],
  ['docker.io/alpine', 'docker.io', 'library/alpine'],
  ['index.docker.io/alpine:1', 'docker.io', 'library/alpine', '1'],
  ['registry-1.docker.io/team/app', 'docker.io', 'team/app'],
  ['Quay.IO/team/app', 'quay.io', 'team/app'],
  ['quay.io/app', 'quay.io', 'app'],
  ['localhost/app', 'localhost', 'app'],
  ['localhost:5000/app:v1', 'localhost:5000', 'app', 'v1'],
  ['localhost:5000', 'docker.io', 'library/localhost', '5000'],
  ['127.0.0.1:5000/a/b', '127.0.0.1:5000', 'a/b'],
  ['[::1]/app:v1', '[::1]', 'app', 'v1'],
  ['[FD00:0::1]:5000/app', '[fd00::1]:5000', 'app'],
  ['quay.io:0443/app', 'quay.io:443', 'app'],
];

test('image names mean what they mean to docker', () => {
  for (const [text, host, repository, tag] of IMAGES) {
    const expected = { host, repository, ...(tag === undefined ? {} : { tag }) };
    assert.deepEqual(parseImageReference(text), expected, text);
    const pinned = parseImageReference(`${text}@${DIGEST}`);
    assert.deepEqual(pinned, { ...expected, digest: DIGEST }, text);
  }
});

test('image names that cannot be meant are refused', () => {
  const wrong = [
    ['', '/', '/a', 'a/', 'A', 'quay.io/', 'quay.io/A', 'quay.io//a', 'localhost/../a', ':tag'],
    ['[::1/a', '[::g]/a', '[]/a', '[1.2.3.4]/a', '::1/a', 'h:/a', 'h:0/a', 'h:65536/a', 'h:x/a'],
    [
      'h.:1/a',
      'quay.0/a',
      '127.1/a',
      '0x7f000001:1/a',
      '256.0.0.1/a',
      '.h/a',
      'h..i/a',
      '-h.i/a',
      'user:pw/a',
      'h.i?x/a',
      'h.i#x/a',
      'http://h.i/a',
    ],
    [`${'h'.repeat(300)}.i/a`, 'a%2f/b', 'h.i/a:', 'h.i/a:b:c', 'h.i/a@', 'h.i/a@sha256:1'],
    [`a@b@${DIGEST}`, `a@${DIGEST}@${DIGEST}`, `@${DIGEST}`, 'a b', 'a\n'],
  ].flat();
  for (const text of wrong) {
    assert.throws(
      () => parseImageReference(text),
      (err: { code?: string }) => /^(NAME|TAG|DIGEST)_INVALID$/.test(err.code ?? ''),
      text,
    );
  }
});

test('an image name that was read is read again from its parts', () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const host = fc.tuple(part, fc.integer({ min: 1, max: 65_535 })).map(([h, p]) => `${h}.x:${p}`);
  fc.assert(
    fc.property(host, path, fc.stringMatching(/^\w{1,20}$/), (where, name, tag) => {
      const read = parseImageReference(`${where}/${name}:${tag}`);
      assert.deepEqual({ ...read }, { host: where, repository: name, tag });
    }),
  );
});

test('the names of Docker Hub are one', () => {
  for (const host of ['docker.io', 'INDEX.docker.io', 'registry-1.docker.io']) {
    assert.equal(canonicalHost(host), 'docker.io');
  }
  assert.equal(canonicalHost('evil-docker.io'), 'evil-docker.io');
});
