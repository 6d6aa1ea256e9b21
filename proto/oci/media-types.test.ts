import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isManifestMediaType,
  isMediaType,
  MANIFEST_ACCEPT,
  OCI_INDEX,
  stripParameters,
} from './media-types.ts';

test('a type is known without its parameters and in any case', () => {
  for (const header of [OCI_INDEX, ` ${OCI_INDEX.toUpperCase()} ; charset=utf-8`]) {
    assert.equal(stripParameters(header), OCI_INDEX);
  }
  assert.equal(stripParameters(''), '');
  assert.ok(MANIFEST_ACCEPT.every(isManifestMediaType));
  assert.equal(isManifestMediaType('application/json'), false);
});

test('a type has two names of the grammar', () => {
  for (const type of [...MANIFEST_ACCEPT, 'a/b', 'text/plain;charset=utf-8', 'a/b+c; d="e"']) {
    assert.ok(isMediaType(type), type);
  }
  const wrong = [
    '',
    '/',
    'a',
    'a/',
    '/b',
    'a/b/c',
    'a b/c',
    '.a/b',
    'a/b\n',
    'a/b;\r\nx: y',
    'ä/b',
  ];
  for (const type of [...wrong, `a/${'b'.repeat(254)}`])
    assert.equal(isMediaType(type), false, type);
});
