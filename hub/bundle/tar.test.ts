import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import * as fc from 'fast-check';
import { digestOf } from '../../proto/oci/digest.ts';
import { blobPath } from './layout.ts';
import { decodeTarHeader, encodeTarHeader, padded, TAR_RECORD } from './tar-header.ts';
import { indexTar, type TarFile } from './tar-index.ts';

const GIB = 1024 ** 3;
const END = Buffer.alloc(2 * TAR_RECORD);

function fileOf(bytes: Buffer, size = bytes.length): TarFile {
  return { size, read: async (at, length) => bytes.subarray(at, at + length) };
}

/** An archive of which only the headers are in memory. */
function sparse(files: readonly { name: string; size: number }[]): TarFile {
  const parts = new Map<number, Buffer>();
  let at = 0;
  for (const file of files) {
    const head = encodeTarHeader(file);
    for (let i = 0; i < head.length; i += TAR_RECORD) {
      parts.set(at + i, head.subarray(i, i + TAR_RECORD));
    }
    at += head.length + padded(file.size);
  }
  const read = async (position: number, length: number): Promise<Buffer> =>
    parts.get(position)?.subarray(0, length) ?? Buffer.alloc(length);
  return { size: at + END.length, read };
}

const name = fc.oneof(
  fc.constantFrom('bundle.json', 'bundle.sig', 'oci-layout', 'index.json'),
  fc
    .record({ bytes: fc.uint8Array(), algorithm: fc.constantFrom('sha256', 'sha512') } as const)
    .map(({ bytes, algorithm }) => blobPath(digestOf(bytes, algorithm))),
);
const files = fc.uniqueArray(
  fc.record({ name, size: fc.oneof(fc.nat(2000), fc.integer({ min: 0, max: 2 ** 44 })) }),
  { selector: (file) => file.name, maxLength: 20 },
);

test('names and sizes up to 16 TiB come out of an archive as they went in', async () => {
  await fc.assert(
    fc.asyncProperty(files, async (wanted) => {
      const { entries, ended } = await indexTar(sparse(wanted));
      assert.equal(ended, true);
      assert.deepEqual(
        entries.map((entry) => ({ name: entry.name, size: entry.size })),
        wanted.map((file) => ({ name: file.name, size: file.size })),
      );
    }),
  );
});

test('any bytes are an archive or are refused, and no strange name comes out', async () => {
  const whole = Buffer.concat([
    encodeTarHeader({ name: 'index.json', size: 3 }),
    Buffer.alloc(TAR_RECORD),
    encodeTarHeader({ name: blobPath(digestOf(Buffer.from('x'), 'sha512')), size: 9 * GIB }),
  ]);
  const harm = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(harm, fc.nat(whole.length), async (changes, end) => {
      const bytes = Buffer.from(whole.subarray(0, end));
      for (const [at, value] of changes) if (at < end) bytes[at] = value;
      try {
        for (const entry of (await indexTar(fileOf(bytes))).entries) {
          assert.doesNotMatch(entry.name, /\.\.|^\//);
          assert.ok(Number.isSafeInteger(entry.start + entry.size));
        }
      } catch (err) {
        assert.match(String(err), /damaged/);
      }
    }),
    { numRuns: 500 },
  );
});

test('tar reads what is written, beyond 8 GiB too, and what tar writes is read', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-tar-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const run = promisify(execFile);
  const long = blobPath(digestOf(Buffer.from('long'), 'sha512'));
  const archive = path.join(folder, 'own.tar');
  const body = Buffer.alloc(TAR_RECORD);
  body.write('hello');
  const head = [encodeTarHeader({ name: long, size: 5 }), body];
  await writeFile(archive, Buffer.concat([...head, END]));
  const { stdout } = await run('tar', ['-xOf', archive, long]);
  assert.equal(stdout, 'hello');
  await writeFile(archive, encodeTarHeader({ name: 'index.json', size: 9 * GIB }));
  const listed = await run('tar', ['-tvf', archive]).catch((err: { stdout: string }) => err);
  assert.match(listed.stdout, new RegExp(` ${9 * GIB} .*index.json`));
  await writeFile(path.join(folder, 'index.json'), 'of tar');
  for (const format of ['ustar', 'gnu', 'pax']) {
    const theirs = path.join(folder, `${format}.tar`);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await run('tar', ['-C', folder, `--format=${format}`, '-cf', theirs, './index.json']);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const bytes = await readFile(theirs);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const [entry] = (await indexTar(fileOf(bytes))).entries;
    assert.equal(entry?.name, 'index.json');
    assert.equal(bytes.toString('utf8', entry.start, entry.start + entry.size), 'of tar');
  }
});

/** A header of another kind of entry. */
function header(title: string, type: string, size = 0): Buffer {
  const record = encodeTarHeader({ name: title, size });
  record.write(type, 156, 'latin1');
  record.fill(0x20, 148, 156);
  const sum = record.reduce((total, byte) => total + byte, 0);
  record.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  assert.ok(decodeTarHeader(record, 0));
  return record;
}

const STRANGE: readonly [string, Buffer][] = [
  ['a hard link', header('index.json', '1')],
  ['a symbolic link', header('index.json', '2')],
  ['a character device', header('index.json', '3')],
  ['a block device', header('index.json', '4')],
  ['a pipe', header('index.json', '6')],
  ['a sparse file', header('index.json', 'S')],
  ['a global header', header('pax', 'g')],
  ['a folder with content', header('blobs', '5', 512)],
  ['a way out', header('blobs/../../index.json', '0')],
  ['an absolute name', header('/index.json', '0')],
  ['a folder of another name', header('etc', '5')],
  ['a file of another name', header('blobs/sha256/x', '0')],
  ['a name twice', Buffer.concat([header('index.json', '0'), header('index.json', '0')])],
];

for (const [title, bytes] of STRANGE) {
  test(`an archive with ${title} is refused`, async () => {
    const whole = Buffer.concat([bytes, END]);
    await assert.rejects(indexTar(fileOf(whole)), { code: 'BUNDLE_DAMAGED' });
  });
}
