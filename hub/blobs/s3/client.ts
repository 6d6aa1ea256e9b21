import { Readable } from 'node:stream';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import type { OutageLog } from '../../../proto/ops/outage-log.ts';
import { deadline } from '../../../proto/std/abort.ts';
import {
  S3_ATTEMPTS,
  S3_CALL_MS,
  S3_CONNECT_MS,
  S3_CONNECTIONS_MAX,
  S3_PART_MS,
  S3_REDIRECT_S,
  S3_SILENCE_MS,
} from './constants.ts';
import { BlobStoreError } from '../errors.ts';
import { isMissing, s3Fault } from './faults.ts';

export type S3Place = {
  /** URL of the service; without one, that of AWS in the region. */
  endpoint: string | undefined;
  region: string;
  bucket: string;
  /** Without them, those that the SDK finds where the hub runs. */
  credentials: { accessKeyId: string; secretAccessKey: string } | undefined;
  /** The bucket as the first part of the path instead of the host. */
  pathStyle: boolean;
  /** Instead of S3_CALL_MS and S3_PART_MS. */
  limits?: { callMs: number; partMs: number };
  /** Is told whether the service answers. */
  outage?: OutageLog | undefined;
};

export type StoredPart = { number: number; etag: string; size: number };

export type StoredObject = { key: string; size: number; changedMs: number };
export type StartedUpload = { key: string; upload: string; changedMs: number };

type Sdk = typeof import('@aws-sdk/client-s3');

/**
 * The calls of S3 that the driver makes, each bounded in time.
 * @throws BlobStoreError of every method: STORE_AWAY, STORE_IO, NO_SPACE
 */
export class ObjectClient {
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #outage: OutageLog | undefined;
  readonly #callMs: number;
  readonly #partMs: number;

  private constructor(sdk: Sdk, client: S3Client, { bucket, limits, outage }: S3Place) {
    this.#sdk = sdk;
    this.#client = client;
    this.#bucket = bucket;
    this.#outage = outage;
    this.#callMs = limits?.callMs ?? S3_CALL_MS;
    this.#partMs = limits?.partMs ?? S3_PART_MS;
  }

  /** Loads the SDK, which only this driver needs. Asks nothing of the service. */
  static async open(place: S3Place): Promise<ObjectClient> {
    const sdk = await import('@aws-sdk/client-s3');
    return new ObjectClient(sdk, new sdk.S3Client(configOf(place)), place);
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const { PutObjectCommand } = this.#sdk;
    const command = new PutObjectCommand({
      ...this.#at(key),
      Body: bytes,
      ContentLength: bytes.length,
    });
    await this.#call(key, this.#partMs, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
  }

  /** Begins an upload in parts; its id. */
  async startParts(key: string): Promise<string> {
    const command = new this.#sdk.CreateMultipartUploadCommand(this.#at(key));
    const { UploadId } = await this.#call(key, this.#callMs, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
    return UploadId ?? '';
  }

  /** Sends a part, numbered from 1; its entity tag. */
  async putPart(
    at: { key: string; upload: string; number: number },
    bytes: Uint8Array,
  ): Promise<string> {
    const command = new this.#sdk.UploadPartCommand({
      ...this.#at(at.key),
      UploadId: at.upload,
      PartNumber: at.number,
      Body: bytes,
      ContentLength: bytes.length,
    });
    const { ETag } = await this.#call(at.key, this.#partMs, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
    return ETag ?? '';
  }

  /** The parts that are there, in order; undefined when there is no such upload. */
  async parts(key: string, upload: string): Promise<StoredPart[] | undefined> {
    const found: StoredPart[] = [];
    for (let marker: string | undefined; ;) {
      const command = new this.#sdk.ListPartsCommand({
        ...this.#at(key),
        UploadId: upload,
        PartNumberMarker: marker,
      });
      const page = await this.#ask(key, (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      if (page === undefined) return undefined;
      for (const { PartNumber: number, ETag: etag, Size: size } of page.Parts ?? []) {
        if (number !== undefined && etag !== undefined && size !== undefined) {
          found.push({ number, etag, size });
        }
      }
      marker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined;
      if (marker === undefined) return found;
    }
  }

  /** Makes the parts an object; false when there is no such upload (any more). */
  async finishParts(key: string, upload: string, etags: readonly string[]): Promise<boolean> {
    const command = new this.#sdk.CompleteMultipartUploadCommand({
      ...this.#at(key),
      UploadId: upload,
      MultipartUpload: { Parts: etags.map((ETag, i) => ({ ETag, PartNumber: i + 1 })) },
    });
    const send = (abortSignal: AbortSignal) => this.#client.send(command, { abortSignal });
    return (await this.#ask(key, send, this.#partMs)) !== undefined;
  }

  /** Removes an object and all parts that were sent for it; nothing there is no fault. */
  async remove(key: string): Promise<void> {
    const command = new this.#sdk.ListMultipartUploadsCommand({
      Bucket: this.#bucket,
      Prefix: key,
    });
    const page = await this.#ask(key, (abortSignal) => this.#client.send(command, { abortSignal }));
    for (const { Key, UploadId } of page?.Uploads ?? []) {
      if (Key === key && UploadId !== undefined) await this.dropParts(key, UploadId);
    }
    await this.removeObject(key);
  }

  async dropParts(key: string, upload: string): Promise<void> {
    const abort = new this.#sdk.AbortMultipartUploadCommand({ ...this.#at(key), UploadId: upload });
    await this.#ask(key, (abortSignal) => this.#client.send(abort, { abortSignal }));
  }

  async removeObject(key: string): Promise<void> {
    const command = new this.#sdk.DeleteObjectCommand(this.#at(key));
    await this.#ask(key, (abortSignal) => this.#client.send(command, { abortSignal }));
  }

  /** Bytes of an object; undefined when there is none. */
  async size(key: string): Promise<number | undefined> {
    const command = new this.#sdk.HeadObjectCommand(this.#at(key));
    const found = await this.#ask(key, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
    return found && (found.ContentLength ?? 0);
  }

  /** The body of `[start, end)`, not empty; undefined when there is no object. */
  async get(key: string, range: { start: number; end: number }): Promise<Readable | undefined> {
    const command = new this.#sdk.GetObjectCommand({
      ...this.#at(key),
      Range: `bytes=${range.start}-${range.end - 1}`,
    });
    const found = await this.#ask(key, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
    // In Node.js the body is the response itself.
    return found?.Body instanceof Readable ? found.Body : undefined;
  }

  /** An address at which anybody may read the object for a while. */
  async address(key: string): Promise<string> {
    const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
    const command = new this.#sdk.GetObjectCommand({
      ...this.#at(key),
      ResponseContentType: 'application/octet-stream',
    });
    return getSignedUrl(this.#client, command, { expiresIn: S3_REDIRECT_S });
  }

  /** Objects whose keys begin with `prefix`, page by page. */
  async *list(prefix: string): AsyncGenerator<StoredObject[]> {
    for (let token: string | undefined; ;) {
      const command = new this.#sdk.ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: prefix,
        ContinuationToken: token,
      });
      const page = await this.#call(prefix, this.#callMs, (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      yield (page.Contents ?? []).map(({ Key: key = '', Size: size = 0, LastModified: at }) => {
        return { key, size, changedMs: at?.getTime() ?? 0 };
      });
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
      if (token === undefined) return;
    }
  }

  /** Uploads in parts that were begun and not ended, page by page. */
  async *uploads(prefix: string): AsyncGenerator<StartedUpload[]> {
    for (
      let from: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {};
      ;
    ) {
      const command = new this.#sdk.ListMultipartUploadsCommand({
        Bucket: this.#bucket,
        Prefix: prefix,
        ...from,
      });
      const page = await this.#call(prefix, this.#callMs, (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      yield (page.Uploads ?? []).map(({ Key: key = '', UploadId: upload = '', Initiated: at }) => {
        return { key, upload, changedMs: at?.getTime() ?? 0 };
      });
      if (page.IsTruncated !== true) return;
      from = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
  }

  /** Copies an object of up to COPY_MAX_BYTES inside the bucket. */
  async copy(from: string, to: string): Promise<void> {
    const source = [this.#bucket, ...from.split('/')].map(encodeURIComponent).join('/');
    const command = new this.#sdk.CopyObjectCommand({ ...this.#at(to), CopySource: source });
    await this.#call(to, this.#partMs, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
  }

  /** Whether the bucket can be reached with these credentials. */
  async probe(): Promise<void> {
    const command = new this.#sdk.HeadBucketCommand({ Bucket: this.#bucket });
    await this.#call('', this.#callMs, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
  }

  close(): void {
    this.#client.destroy();
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: key };
  }

  /** Like `#call`, and undefined for what is not there. */
  async #ask<T>(
    key: string,
    send: (signal: AbortSignal) => Promise<T>,
    ms: number = this.#callMs,
  ): Promise<T | undefined> {
    try {
      return await this.#call(key, ms, send);
    } catch (err) {
      if (err instanceof BlobStoreError && isMissing(err.cause)) return undefined;
      throw err;
    }
  }

  async #call<T>(key: string, ms: number, send: (signal: AbortSignal) => Promise<T>): Promise<T> {
    using limit = deadline(ms);
    try {
      const answer = await send(limit.signal);
      this.#outage?.worked();
      return answer;
    } catch (err) {
      const fault = s3Fault(err, `s3://${this.#bucket}/${key}`);
      if (fault.data.code === 'STORE_AWAY') this.#outage?.failed(fault.message);
      else this.#outage?.worked();
      throw fault;
    }
  }
}

function configOf({ endpoint, region, credentials, pathStyle }: S3Place): S3ClientConfig {
  return {
    region,
    forcePathStyle: pathStyle,
    maxAttempts: S3_ATTEMPTS,
    // Bodies are signed whole or sent over TLS, and blobs are known by their digest.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: S3_CONNECT_MS,
      socketTimeout: S3_SILENCE_MS,
      httpAgent: { keepAlive: true, maxSockets: S3_CONNECTIONS_MAX },
      httpsAgent: { keepAlive: true, maxSockets: S3_CONNECTIONS_MAX },
    },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  };
}
