// Blob stores in one bucket of a real S3 server, each under a prefix and with an index of its own.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';
import { PENDING_MAX_OF_RIG, type BlobStoreRig } from '../../../hub/blobs/conformance.ts';
import { S3BlobStore, type S3StoreOptions } from '../../../hub/blobs/s3/store.ts';
import { KyselyObjectIndex, type ObjectTables } from '../../../hub/catalog/object-index.ts';
import { openSqliteCatalog } from '../../../hub/catalog/sqlite-catalog.ts';
import { missingForRadosgw, Radosgw } from '../../rig/radosgw.ts';

export const BUCKET = 'flotilla';
export const PART_BYTES = 5 * 1024 * 1024;

/** A server with an empty bucket, and what a test asks it beside the driver. */
export class S3Server implements AsyncDisposable {
  readonly gateway: Radosgw;
  readonly client: S3Client;
  #prefixes = 0;

  private constructor(gateway: Radosgw) {
    this.gateway = gateway;
    const { endpoint } = gateway;
    const { credentials, region } = this.place();
    this.client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  }

  static async start(): Promise<S3Server> {
    const server = new S3Server(await Radosgw.start());
    try {
      await server.client.send(new CreateBucketCommand({ Bucket: BUCKET }));
    } catch (err) {
      await server[Symbol.asyncDispose]();
      throw err;
    }
    return server;
  }

  place() {
    const { endpoint, accessKeyId, secretAccessKey } = this.gateway;
    const credentials = { accessKeyId, secretAccessKey };
    return { endpoint, region: 'us-east-1', bucket: BUCKET, credentials, pathStyle: true };
  }

  /** Sections of a hub that keeps its blobs in a part of the bucket. */
  sections(prefix: string, changes: object = {}) {
    const { endpoint, accessKeyId, secretAccessKey } = this.gateway;
    const s3 = { endpoint, bucket: BUCKET, prefix, accessKeyId, secretAccessKey, ...changes };
    return { blobs: { driver: 's3', s3 } };
  }

  /** A store like no other one before it. */
  async rig(changes: Partial<S3StoreOptions> = {}): Promise<S3Rig> {
    this.#prefixes += 1;
    return S3Rig.open(this, { ...this.place(), prefix: `rig-${this.#prefixes}/`, ...changes });
  }

  /** Keys of all objects and of all uploads in parts. */
  async keys(prefix: string): Promise<{ objects: string[]; uploads: string[] }> {
    const at = { Bucket: BUCKET, Prefix: prefix };
    const { Contents = [] } = await this.client.send(new ListObjectsV2Command(at));
    const { Uploads = [] } = await this.client.send(new ListMultipartUploadsCommand(at));
    return {
      objects: Contents.map(({ Key = '' }) => Key),
      uploads: Uploads.map(({ Key = '' }) => Key),
    };
  }

  /** Removes an object behind the back of its hub. */
  async remove(key: string): Promise<void> {
    await this.client.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: key }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client.destroy();
    await this.gateway[Symbol.asyncDispose]();
  }
}

/**
 * The one server that the tests of a file share: it starts before the first of them and ends after
 * the last. Call it at the top of the file; `without` says why there is no need of a server.
 */
export function s3ForTests(without: string | false = false): {
  skip: string | false;
  server: () => S3Server;
} {
  const skip = without === false ? missingForRadosgw() : without;
  let starting: Promise<S3Server> | undefined;
  let started: S3Server | undefined;
  before(async () => {
    if (skip !== false) return;
    starting = S3Server.start();
    started = await starting;
  });
  after(async () => {
    const begun = await starting?.catch(() => undefined);
    await begun?.[Symbol.asyncDispose]();
  });
  return {
    skip,
    server: () => {
      if (started === undefined) throw new Error('the S3 server did not start');
      return started;
    },
  };
}

type Catalog = Awaited<ReturnType<typeof openSqliteCatalog>>;

export class S3Rig implements BlobStoreRig {
  readonly store: S3BlobStore;
  readonly catalog: Catalog;
  readonly server: S3Server;
  readonly prefix: string;
  readonly #folder: string;
  readonly #options: S3StoreOptions;
  readonly #opened: S3BlobStore[] = [];

  private constructor(
    server: S3Server,
    options: S3StoreOptions,
    parts: { store: S3BlobStore; catalog: Catalog; folder: string },
  ) {
    this.server = server;
    this.prefix = options.prefix;
    this.#options = options;
    this.store = parts.store;
    this.catalog = parts.catalog;
    this.#folder = parts.folder;
    this.#opened.push(parts.store);
  }

  static async open(
    server: S3Server,
    changes: Omit<S3StoreOptions, 'redirect'> & { redirect?: boolean },
  ): Promise<S3Rig> {
    const options = {
      redirect: false,
      pendingMax: PENDING_MAX_OF_RIG,
      partBytes: () => PART_BYTES,
      ...changes,
    };
    const folder = await mkdtemp(path.join(tmpdir(), 'flotilla-s3-'));
    const catalog = await openSqliteCatalog({ path: path.join(folder, 'catalog.sqlite') });
    const index = new KyselyObjectIndex({ db: catalog.db.withTables<ObjectTables>() });
    const store = await S3BlobStore.open(options, { index });
    return new S3Rig(server, options, { store, catalog, folder });
  }

  async reopen(): Promise<S3BlobStore> {
    const index = new KyselyObjectIndex({ db: this.catalog.db.withTables<ObjectTables>() });
    const store = await S3BlobStore.open(this.#options, { index });
    this.#opened.push(store);
    return store;
  }

  async leftovers(): Promise<string[]> {
    const { objects, uploads } = await this.server.keys(this.prefix);
    const db = this.catalog.db.withTables<ObjectTables>();
    const rows = await db.selectFrom('blob_object').select('object_key').execute();
    const owned = new Set(rows.map(({ object_key: key }) => key));
    return [...objects, ...uploads].filter((key) => !owned.has(key));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((store) => store.close()));
    await this.catalog.close();
    await rm(this.#folder, { recursive: true });
  }
}
