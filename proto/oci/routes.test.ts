import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestOf } from './digest.ts';
import { parseRegistryRoute } from './routes.ts';

const D = digestOf(Buffer.from('x'));

const ROUTES: readonly [path: string, expected: object][] = [
  ['/v2', { kind: 'base' }],
  ['/v2/', { kind: 'base' }],
  ['/v2/_catalog', { kind: 'catalog' }],
  ['/v2/a/tags/list', { kind: 'tags', repository: 'a' }],
  ['/v2/tags/list/tags/list', { kind: 'tags', repository: 'tags/list' }],
  ['/v2/a/b/manifests/v1', manifest('a/b', { kind: 'tag', tag: 'v1' })],
  [`/v2/a/manifests/${D}`, manifest('a', { kind: 'digest', digest: D })],
  ['/v2/manifests/manifests/manifests', manifest('manifests', { kind: 'tag', tag: 'manifests' })],
  ['/v2/a/blobs/uploads/manifests/v1', manifest('a/blobs/uploads', { kind: 'tag', tag: 'v1' })],
  [`/v2/a/blobs/${D}`, { kind: 'blob', repository: 'a', digest: D }],
  [`/v2/blobs/uploads/blobs/${D}`, { kind: 'blob', repository: 'blobs/uploads', digest: D }],
  ['/v2/a/blobs/uploads', { kind: 'upload-start', repository: 'a' }],
  ['/v2/a/blobs/uploads/', { kind: 'upload-start', repository: 'a' }],
  ['/v2/a/blobs/uploads/Se-ss_1', { kind: 'upload', repository: 'a', session: 'Se-ss_1' }],
  [`/v2/a/referrers/${D}`, { kind: 'referrers', repository: 'a', digest: D }],
  [`/v2/a/b/_flotilla/chunks/statement/${D}`, chunks('chunk-statement')],
  [`/v2/a/b/_flotilla/chunks/hashes/${D}`, chunks('chunk-hashes')],
];

function manifest(repository: string, reference: object): object {
  return { kind: 'manifest', repository, reference };
}

function chunks(kind: string): object {
  return { kind, repository: 'a/b', digest: D };
}

test('each path of the API is one route', () => {
  for (const [path, expected] of ROUTES) assert.deepEqual(parseRegistryRoute(path), expected);
});

test('a path that is wrong says what is wrong with it', () => {
  const wrong: readonly [path: string, code: string][] = [
    ['/', 'UNSUPPORTED'],
    ['', 'UNSUPPORTED'],
    ['/v1/a', 'UNSUPPORTED'],
    ['/v2//', 'UNSUPPORTED'],
    ['/v2/a', 'UNSUPPORTED'],
    ['/v2/_catalog/', 'UNSUPPORTED'],
    ['/v2/tags/list', 'UNSUPPORTED'],
    ['/v2/a/tags/list/', 'UNSUPPORTED'],
    ['/v2/blobs/uploads/', 'UNSUPPORTED'],
    ['/v2//tags/list', 'NAME_INVALID'],
    ['/v2/A/tags/list', 'NAME_INVALID'],
    ['/v2/../manifests/v1', 'NAME_INVALID'],
    ['/v2/a/../../etc/manifests/v1', 'NAME_INVALID'],
    ['/v2/a/..%2f..%2fetc/manifests/v1', 'NAME_INVALID'],
    ['/v2/a%2fb/manifests/v1', 'NAME_INVALID'],
    ['/v2/a/manifests/%00', 'NAME_INVALID'],
    [`/v2/_flotilla/chunks/statement/${D}`, 'UNSUPPORTED'],
    [`/v2/${'a'.repeat(256)}/tags/list`, 'NAME_INVALID'],
    [`/v2/${'a/'.repeat(1000)}tags/list`, 'NAME_INVALID'],
    ['/v2/a/manifests/', 'TAG_INVALID'],
    ['/v2/a/manifests/..', 'TAG_INVALID'],
    [`/v2/a/manifests/${'t'.repeat(129)}`, 'TAG_INVALID'],
    ['/v2/a/manifests/sha256:bad', 'DIGEST_INVALID'],
    ['/v2/a/blobs/', 'DIGEST_INVALID'],
    ['/v2/a/blobs/sha256:bad', 'DIGEST_INVALID'],
    [`/v2/a/blobs/${D.toUpperCase()}`, 'DIGEST_INVALID'],
    ['/v2/a/referrers/latest', 'DIGEST_INVALID'],
    ['/v2/a/blobs/uploads/.', 'BLOB_UPLOAD_UNKNOWN'],
    ['/v2/a/blobs/uploads/a/b', 'UNSUPPORTED'],
    [`/v2/a/blobs/uploads/${'s'.repeat(129)}`, 'BLOB_UPLOAD_UNKNOWN'],
  ];
  for (const [path, code] of wrong) {
    assert.throws(() => parseRegistryRoute(path), { code }, path);
  }
});

test('no repository of the grammar is mistaken for a part of the API', () => {
  const word = fc.constantFrom('blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', 'a');
  const name = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => words.join('/'));
  fc.assert(
    fc.property(name, fc.stringMatching(/^[a-z]{1,8}$/), (repository, tag) => {
      const prefix = `/v2/${repository}`;
      assert.deepEqual(
        parseRegistryRoute(`${prefix}/manifests/${tag}`),
        manifest(repository, { kind: 'tag', tag }),
      );
      assert.deepEqual(parseRegistryRoute(`${prefix}/blobs/${D}`), {
        kind: 'blob',
        repository,
        digest: D,
      });
      assert.deepEqual(parseRegistryRoute(`${prefix}/tags/list`), { kind: 'tags', repository });
      assert.deepEqual(parseRegistryRoute(`${prefix}/blobs/uploads/`), {
        kind: 'upload-start',
        repository,
      });
    }),
  );
});
