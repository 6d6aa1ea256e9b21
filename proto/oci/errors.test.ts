import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OCI_ERRORS, ociError, ociErrorBody, type OciCode } from './errors.ts';

const codes = Object.keys(OCI_ERRORS).filter((key): key is OciCode => key in OCI_ERRORS);

/** Distribution-spec "Error Codes", and the one it has from the registry it comes from. */
const spec = [
  ['BLOB_UNKNOWN', 'BLOB_UPLOAD_INVALID', 'BLOB_UPLOAD_UNKNOWN', 'DIGEST_INVALID'],
  ['MANIFEST_BLOB_UNKNOWN', 'MANIFEST_INVALID', 'MANIFEST_UNKNOWN', 'NAME_INVALID'],
  ['NAME_UNKNOWN', 'SIZE_INVALID', 'UNAUTHORIZED', 'DENIED', 'UNSUPPORTED', 'TOOMANYREQUESTS'],
  ['TAG_INVALID'],
].flat();

test('every code of the distribution-spec is known', () => {
  for (const code of spec) assert.ok(code in OCI_ERRORS, code);
});

test('every code has an error status, and a body with code and message', () => {
  for (const code of codes) {
    const err = ociError(code, '');
    assert.ok(err.status >= 400 && err.status < 600);
    const [told, ...more] = ociErrorBody(err).errors;
    assert.deepEqual(more, []);
    assert.equal(told?.message, OCI_ERRORS[code].message);
    if (spec.includes(code)) assert.equal(told.code, code);
    else assert.ok(err.status >= 500 || spec.includes(told.code), `a client is told ${told.code}`);
  }
});

test('a failure may have its own status, words and detail', () => {
  const err = ociError('MANIFEST_INVALID', 'too large', { status: 413, detail: { max: 1 } });
  assert.equal(err.status, 413);
  const expected = { code: 'MANIFEST_INVALID', message: 'too large', detail: { max: 1 } };
  assert.deepEqual(ociErrorBody(err).errors, [expected]);
});
