import assert from 'node:assert/strict';
import { cp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { formatKeyFile, parseKeyFile, type ExporterKey } from '../../hub/bundle/signature.ts';
import { encodeTarHeader, padded } from '../../hub/bundle/tar-header.ts';
import { indexTar } from '../../hub/bundle/tar-index.ts';
import { digestHex, digestOf } from '../../proto/oci/digest.ts';
import { TestHub } from '../registry/test-hub.ts';
import { exportTo, importTo, keyOf, scratch } from './bundle-rig.ts';

const LAYER = Buffer.from('the bytes of a layer');
const END = Buffer.alloc(1024);
let from: TestHub;
let to: TestHub;
before(async () => {
  [from, to] = await Promise.all([TestHub.start(), TestHub.start()]);
  await from.pushImage('v1', [LAYER]);
});
after(() => Promise.all([from[Symbol.asyncDispose](), to[Symbol.asyncDispose]()]));

type Files = Map<string, Buffer>;

async function unpack(file: string): Promise<Files> {
  const bytes = await readFile(file);
  const read = async (at: number, length: number) => bytes.subarray(at, at + length);
  const { entries } = await indexTar({ size: bytes.length, read });
  return new Map(
    entries.map(({ name, start, size }) => [name, bytes.subarray(start, start + size)]),
  );
}

function packed(files: Files): Buffer {
  const parts = [...files].flatMap(([name, bytes]) => {
    const filler = Buffer.alloc(padded(bytes.length) - bytes.length);
    return [encodeTarHeader({ name, size: bytes.length }), bytes, filler];
  });
  return Buffer.concat([...parts, END]);
}

/** What the hub that imports shows of it: nothing. */
async function assertNothing(): Promise<void> {
  const { body } = await to.ask('/v2/_catalog');
  assert.deepEqual(JSON.parse(body.toString()), { repositories: [] });
  const blob = await to.ask(`/v2/team/app/blobs/${digestOf(LAYER)}`, { method: 'HEAD' });
  assert.equal(blob.status, 404);
}

function flip(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  const index = (at + bytes.length) % bytes.length;
  changed[index] = (changed[index] ?? 0) ^ 1;
  return changed;
}

const BLOB = `blobs/sha256/${digestHex(digestOf(LAYER))}`;
const get = (files: Files, name: string): Buffer => files.get(name) ?? Buffer.alloc(0);
const change = (name: string, work: (bytes: Buffer) => Buffer) => (files: Files) => {
  files.set(name, work(get(files, name)));
};
const text = (work: (given: string) => string) => (bytes: Buffer) =>
  Buffer.from(work(bytes.toString('utf8')));

const DAMAGES: readonly [string, (files: Files) => unknown, RegExp][] = [
  ['no list', (files) => files.delete('bundle.json'), /bundle.json is missing/],
  ['no signature', (files) => files.delete('bundle.sig'), /bundle.sig is missing/],
  ['a signature that is none', change('bundle.sig', () => LAYER), /bundle.sig is no signature/],
  [
    'another byte in the signature',
    change('bundle.sig', (bytes) => {
      const signature: { statement: string } = JSON.parse(bytes.toString());
      const statement = flip(Buffer.from(signature.statement, 'base64'), -3).toString('base64');
      return Buffer.from(JSON.stringify({ ...signature, statement }));
    }),
    /not believed/,
  ],
  ['another byte in the list', change('bundle.json', (b) => flip(b, 60)), /another bundle.json/],
  [
    'another name for its image',
    change(
      'bundle.json',
      text((list) => list.replaceAll('"v1"', '"v2"')),
    ),
    /another bundle.json/,
  ],
  [
    'a size of 16 EiB in its list',
    change(
      'bundle.json',
      text((list) => list.replace(/"size": \d+/, '"size": 1e19')),
    ),
    /another bundle.json/,
  ],
  ['a blob less', (files) => files.delete(BLOB), /blobs.* is missing/],
  ['another byte in a blob', change(BLOB, (b) => flip(b, 7)), /blobs.* has other bytes/],
  ['a blob that is short', change(BLOB, (b) => b.subarray(1)), /has 19 bytes, not 20/],
  ['a blob that is long', change(BLOB, (b) => Buffer.concat([b, b])), /has 40 bytes, not 20/],
  [
    'another index.json',
    change(
      'index.json',
      text((index) => index.replace('team/app:v1', 'team/app:v2')),
    ),
    /index.json has other bytes/,
  ],
  [
    'a blob more',
    (files) => files.set(`blobs/sha256/${'0'.repeat(64)}`, LAYER),
    /is not on its list/,
  ],
  ['a file of another name', (files) => files.set('etc/passwd', LAYER), /no bundle has/],
  ['a way out of its folder', (files) => files.set('../index.json', LAYER), /no bundle has/],
];

for (const [title, harm, complaint] of DAMAGES) {
  test(`a bundle with ${title} is refused, and nothing of it is seen`, async (t) => {
    const file = path.join(await scratch(t), 'bundle.tar');
    await exportTo(from, file, ['team/app:v1']);
    const files = await unpack(file);
    harm(files);
    await writeFile(file, packed(files));
    await assert.rejects(importTo(to, file, from), complaint);
    await assertNothing();
  });
}

test('a bundle that was cut anywhere is refused, and nothing of it is seen', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  await exportTo(from, file, ['team/app:v1']);
  const whole = await readFile(file);
  // Without the second of the records that end it, there is still one.
  for (let end = 0; end <= whole.length - 1024; end += 509) {
    await writeFile(file, whole.subarray(0, end));
    await assert.rejects(importTo(to, file, from), /damaged/, `${end} bytes`);
  }
  await assertNothing();
});

test('of a bundle in a folder no link is followed', async (t) => {
  const scratchFolder = await scratch(t);
  const folder = path.join(scratchFolder, 'bundle');
  await exportTo(from, folder, ['team/app:v1']);
  const blob = path.join(folder, BLOB);
  const beside = path.join(scratchFolder, 'blob');
  await cp(blob, beside);
  await rm(blob);
  await symlink(beside, blob);
  await assert.rejects(importTo(to, folder, from), /an entry that no bundle has/);
  await rm(blob);
  await cp(beside, blob);
  await truncate(blob, 3);
  await assert.rejects(importTo(to, folder, from), /has 3 bytes, not 20/);
  await assertNothing();
});

test('only the exporters that are configured are believed, each for its own', async (t) => {
  const folder = await scratch(t);
  const file = path.join(folder, 'bundle.tar');
  await exportTo(from, file, ['team/app:v1']);
  await assert.rejects(importTo(to, file, to), { code: 'BUNDLE_UNTRUSTED' });
  await assert.rejects(importTo(to, file, from, { believed: [] }), { code: 'NO_TRUSTED_KEYS' });
  const [own, other] = [await keyOf(from).exporter(), await keyOf(to).exporter()];
  const mixed: ExporterKey = { ...own, fleetId: other.fleetId };
  await assert.rejects(importTo(to, file, from, { believed: [mixed] }), /for another fleet/);
  await assertNothing();
  await using third = await TestHub.start();
  await importTo(third, file, from, { believed: [other, own] });
});

test('what a key file says is what importers believe, and nothing else is one', async () => {
  const shown = await keyOf(from).show();
  const file = formatKeyFile(shown);
  assert.match(file, new RegExp(`^# fingerprint: ${shown.fingerprint}$`, 'm'));
  const exporter = await keyOf(from).exporter();
  assert.deepEqual(parseKeyFile(file, 'x'), exporter);
  assert.deepEqual(parseKeyFile(file.replaceAll('\n', '\r\n').replaceAll('\r', ''), 'x'), exporter);
  const other = await keyOf(to).show();
  for (const wrong of [
    '',
    file.replace(shown.fingerprint, other.fingerprint),
    file.replace('key 1', 'key 2'),
    file.slice(0, -20),
  ]) {
    assert.throws(() => parseKeyFile(wrong, 'x'), { code: 'KEY_FILE_INVALID' });
  }
});

test('a new key is believed without news, and a revoked one not once it is known', async (t) => {
  const folder = await scratch(t);
  const [first, second, third] = ['1.tar', '2.tar', '3.tar'].map((name) => path.join(folder, name));
  assert.ok(first && second && third);
  await using hub = await TestHub.start();
  await using importer = await TestHub.start();
  await hub.pushImage('v1', [LAYER]);
  await exportTo(hub, first, ['team/app:v1']);
  const known = [await keyOf(hub).exporter()];
  await keyOf(hub).replace({ revoke: false });
  await exportTo(hub, second, ['team/app:v1']);
  await importTo(importer, second, hub, { believed: known });
  await importTo(importer, first, hub);
  await keyOf(hub).replace({ revoke: true });
  await assert.rejects(importTo(importer, second, hub), /is revoked/);
  await importTo(importer, first, hub);
  await exportTo(hub, third, ['team/app:v1']);
  await importTo(importer, third, hub, { believed: known });
});

type Listed = { images: { repository: string }[]; blobs: { size: number; digest: string }[] };

/** Lists that an exporter signs although they cannot be true. */
const LIES: readonly [string, (list: Listed & Record<string, unknown>) => unknown, RegExp][] = [
  [
    'a blob of eight petabytes',
    (list) => list.blobs.forEach((blob) => (blob.size = 2 ** 53 - 1)),
    /has \d+ bytes, not 9007199254740991/,
  ],
  [
    'a blob of more bytes than can be counted',
    (list) => list.blobs.forEach((blob) => (blob.size = 2 ** 60)),
    /says what cannot be/,
  ],
  [
    'a repository that is a way out',
    (list) => list.images.forEach((image) => (image.repository = '../../app')),
    /says what cannot be/,
  ],
  ['an image that it lacks', (list) => (list['manifests'] = []), /says what cannot be/],
  ['what nobody knows', (list) => (list['more'] = true), /says what cannot be/],
  ['a later format', (list) => (list['format'] = 2), /has format 2, this program reads 1/],
  ['another fleet', (list) => (list['fleetId'] = 'fleet-2'), /list is of another fleet/],
  [
    'blobs of a bundle that it does not name',
    (list) => {
      const unknown = { id: '0'.repeat(32), repository: 'team/app' };
      list.blobs = list.blobs.map((blob) => ({ ...blob, in: unknown }));
    },
    /says what cannot be/,
  ],
];

for (const [title, lie, complaint] of LIES) {
  test(`a bundle signed for ${title} is refused, and nothing of it is seen`, async (t) => {
    const file = path.join(await scratch(t), 'bundle.tar');
    await exportTo(from, file, ['team/app:v1']);
    const files = await unpack(file);
    const list: Listed & Record<string, unknown> = JSON.parse(get(files, 'bundle.json').toString());
    lie(list);
    const bytes = Buffer.from(JSON.stringify(list));
    files.set('bundle.json', bytes).set('bundle.sig', await keyOf(from).sign(bytes));
    await writeFile(file, packed(files));
    await assert.rejects(importTo(to, file, from), complaint);
    await assertNothing();
  });
}

test('an archive that claims a list of a terabyte is refused before memory is taken', async (t) => {
  const file = path.join(await scratch(t), 'bundle.tar');
  const claim = encodeTarHeader({ name: 'bundle.json', size: 2 ** 40 });
  await writeFile(file, Buffer.concat([claim, END]));
  await assert.rejects(importTo(to, file, from), /1099511627776 bytes, at most/);
  await assertNothing();
});
