// The check of a hub whose blobs are in a bucket.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import {
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { S3BlobStore } from '../../../hub/blobs/s3/store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../../../hub/catalog/object-index.ts';
import type { OpenCatalog } from '../../../hub/catalog/open-catalog.ts';
import { openPostgresCatalog } from '../../../hub/catalog/postgres-catalog.ts';
import { openSqliteCatalog } from '../../../hub/catalog/sqlite-catalog.ts';
import { checkConformance, type CheckRig } from '../check-conformance.ts';
import { TestGc } from '../../../hub/gc/gc-fixture.ts';
import type { Digest } from '../../../proto/oci/digest.ts';
import { postgresForTests } from '../../rig/postgres.ts';
import { BUCKET, PART_BYTES, s3ForTests } from './s3-rig.ts';

const { skip: withoutPostgres, server: postgres } = postgresForTests();
const { skip, server: storage } = s3ForTests(withoutPostgres);

async function rigOf(
  t: TestContext,
  parts: { catalog: OpenCatalog; place: CheckRig['config']['catalog']; dataDir: string },
): Promise<CheckRig> {
  const { catalog, place, dataDir } = parts;
  const server = storage();
  const prefix = `${randomBytes(4).toString('hex')}/`;
  const index = new KyselyObjectIndex({ db: catalog.db.withTables<ObjectTables>() });
  const blobs = await S3BlobStore.open({ ...server.place(), prefix, redirect: false }, { index });
  const gc = await TestGc.start(t, { catalog, blobs });
  t.after(async () => {
    await blobs.close();
    await catalog.close();
    await rm(dataDir, { recursive: true });
  });
  const { endpoint, region, bucket, pathStyle, credentials } = server.place();
  const s3 = { endpoint, region, bucket, pathStyle, prefix, redirect: false, ...credentials };
  const at = async (digest: Digest) => {
    return { Bucket: BUCKET, Key: (await index.find(digest))?.key ?? assert.fail() };
  };
  const fresh = (kind: string) => {
    const name = randomBytes(16).toString('hex');
    return { Bucket: BUCKET, Key: `${prefix}${kind}/${name.slice(0, 2)}/${name}` };
  };
  const { client } = server;
  return {
    gc,
    config: { hub: { dataDir }, blobs: { driver: 's3', s3 }, catalog: place },
    lose: async (digest) => void (await client.send(new DeleteObjectCommand(await at(digest)))),
    replace: async (digest, bytes) => {
      await client.send(new PutObjectCommand({ ...(await at(digest)), Body: bytes }));
    },
    stray: async (bytes) => {
      await client.send(new PutObjectCommand({ ...fresh('blobs'), Body: bytes }));
    },
    abandon: async (bytes) => {
      const tail = fresh('tails');
      await index.note({ key: tail.Key, pending: 'gone' }, Date.now());
      await client.send(new PutObjectCommand({ ...tail, Body: bytes }));
      const upload = fresh('blobs');
      const { UploadId } = await client.send(new CreateMultipartUploadCommand(upload));
      const part = { ...upload, UploadId, PartNumber: 1, Body: Buffer.alloc(PART_BYTES) };
      await client.send(new UploadPartCommand(part));
    },
    count: async () => {
      const { objects, uploads } = await server.keys(prefix);
      const kept = objects.filter((key) => !key.startsWith(`${prefix}damaged/`));
      return kept.length + uploads.length;
    },
  };
}

checkConformance(
  'SQLite and S3',
  async (t) => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'flotilla-check-'));
    const catalog = await openSqliteCatalog({ path: path.join(dataDir, 'catalog.sqlite') });
    return rigOf(t, { catalog, place: {}, dataDir });
  },
  { skip },
);

checkConformance(
  'PostgreSQL and S3',
  async (t) => {
    const server = await postgres();
    const database = await server.createDatabase();
    const dataDir = await mkdtemp(path.join(tmpdir(), 'flotilla-check-'));
    const catalog = await openPostgresCatalog({ ...server.target, database });
    const place = { url: server.url(database), tls: 'off' as const };
    return rigOf(t, { catalog, place, dataDir });
  },
  { skip },
);
