import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatManifest, parseManifest, type BackupManifest } from './manifest.ts';

const WHOLE: BackupManifest = {
  kind: 'flotilla-backup',
  format: 1,
  time: '2026-01-02T03:04:05.678Z',
  finished: '2026-01-02T03:05:00.000Z',
  build: '1.0.0',
  schema: 10,
  fleetId: 'fleet',
  rootFingerprint: '0'.repeat(64),
  catalog: { file: 'catalog-00ff.ndjson', bytes: 1, sha256: '0'.repeat(64), rows: {} },
  withdrawn: [],
};

test('a backup says of which moment it is, or it is none', () => {
  assert.deepEqual(parseManifest(formatManifest(WHOLE)), WHOLE);
  // Serials after a restore follow from it: it has to be a moment, and one of a hub.
  for (const time of ['', 'soon', '-271821-04-20T00:00:00.000Z', '1969-12-31T23:59:59.999Z']) {
    const text = formatManifest({ ...WHOLE, time });
    assert.throws(() => parseManifest(text), /damaged: backup.json is of no moment/, time);
  }
});

test('a backup names files in its own folder only', () => {
  for (const file of ['../catalog-00.ndjson', '/catalog-00.ndjson', 'catalog-00.ndjson\n']) {
    const text = formatManifest({ ...WHOLE, catalog: { ...WHOLE.catalog, file } });
    assert.throws(() => parseManifest(text), /damaged/, file);
  }
});
