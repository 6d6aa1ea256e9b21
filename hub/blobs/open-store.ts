import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ConfigError } from '../../proto/ops/errors.ts';
import type { OutageLog } from '../../proto/ops/outage-log.ts';
import { messageOf } from '../../proto/std/errors.ts';
import { FilesystemBlobStore } from './filesystem.ts';
import type { BlobsConfig } from './options.ts';
import type { BlobStore } from './port.ts';
import type { S3Place } from './s3/client.ts';
import type { ObjectDirectory, ObjectIndex } from './s3/object-index.ts';
import { S3BlobStore } from './s3/store.ts';
import { StoredObjects } from './s3/stored-objects.ts';
import { StoredFiles, type FileLister } from './stored-files.ts';

/**
 * The blob store of this configuration, which has been checked.
 * @throws ConfigError when a file of keys cannot be read; BlobStoreError
 */
export async function openBlobStore(
  { driver, s3 }: BlobsConfig,
  modules: { dataDir: string; index: ObjectIndex; outage?: OutageLog },
): Promise<BlobStore> {
  const { dataDir, index, outage } = modules;
  if (driver === 'filesystem') {
    return FilesystemBlobStore.open({ root: path.join(dataDir, 'registry') });
  }
  const { prefix, redirect } = s3;
  const place = { ...(await placeOf(s3)), outage };
  return S3BlobStore.open({ ...place, prefix, redirect }, { index });
}

/**
 * What this configuration keeps, for who goes through all of it.
 * @throws ConfigError when a file of keys cannot be read
 */
export async function openStoredFiles(
  { driver, s3 }: BlobsConfig,
  modules: { dataDir: string; index: ObjectIndex & ObjectDirectory },
): Promise<FileLister & Disposable> {
  const { dataDir, index } = modules;
  if (driver === 'filesystem') return new StoredFiles({ root: path.join(dataDir, 'registry') });
  return StoredObjects.open({ ...(await placeOf(s3)), prefix: s3.prefix }, { index });
}

async function placeOf(s3: BlobsConfig['s3']): Promise<S3Place> {
  const { endpoint, region, bucket = '', pathStyle } = s3;
  return { endpoint, region, bucket, credentials: await credentialsOf(s3), pathStyle };
}

async function credentialsOf(
  s3: BlobsConfig['s3'],
): Promise<{ accessKeyId: string; secretAccessKey: string } | undefined> {
  const accessKeyId = s3.accessKeyId ?? (await keyIn('accessKeyIdFile', s3.accessKeyIdFile));
  const secretAccessKey =
    s3.secretAccessKey ?? (await keyIn('secretAccessKeyFile', s3.secretAccessKeyFile));
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey };
}

async function keyIn(setting: string, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const refuse = (message: string): ConfigError =>
    new ConfigError('hub configuration', [
      { path: `blobs.s3.${setting}`, message, origin: undefined },
    ]);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (err) {
    throw refuse(`cannot be read: ${messageOf(err)}`);
  }
  const key = text.trim();
  if (key === '') throw refuse(`${file} is empty`);
  return key;
}
