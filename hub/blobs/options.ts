import { Type, type Static } from 'typebox';
import { Secret } from '../../proto/ops/config.ts';

const BUCKET = '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$';
const PREFIX = '^([A-Za-z0-9._-]+/)*$';
const PREFIX_MAX_CHARS = 256;

const S3Options = Type.Object(
  {
    endpoint: Type.Optional(
      Type.String({ description: 'https://host[:port] of the service; if left out, AWS' }),
    ),
    region: Type.String({
      description: 'region of the bucket',
      default: 'us-east-1',
      minLength: 1,
    }),
    bucket: Type.Optional(
      Type.String({ description: 'the bucket, which has to be there', pattern: BUCKET }),
    ),
    prefix: Type.String({
      description: 'what the names of all objects begin with, such as hub/; for one hub alone',
      default: '',
      pattern: PREFIX,
      maxLength: PREFIX_MAX_CHARS,
    }),
    pathStyle: Type.Boolean({
      description: 'name the bucket in the path instead of the host, as most others than AWS want',
      default: true,
    }),
    redirect: Type.Boolean({
      description:
        'send who pulls a blob to the bucket, by an address signed for 15 minutes; agents need ' +
        'its host in their hub.redirectHosts',
      default: false,
    }),
    accessKeyId: Type.Optional(
      Type.String({ description: 'access key; if left out, what the AWS SDK finds', minLength: 1 }),
    ),
    accessKeyIdFile: Type.Optional(Type.String({ description: 'file with the access key' })),
    secretAccessKey: Type.Optional(
      Secret({ description: 'secret of the access key; better in secretAccessKeyFile' }),
    ),
    secretAccessKeyFile: Type.Optional(
      Type.String({ description: 'file with the secret of the access key' }),
    ),
  },
  { description: 'the bucket of driver s3', default: {} },
);

/** Section `blobs` of the hub. */
export const BlobsOptions = Type.Object(
  {
    driver: Type.Union([Type.Literal('filesystem'), Type.Literal('s3')], {
      description: 'where blobs are kept: in the data folder, or in an S3 bucket',
      default: 'filesystem',
    }),
    s3: S3Options,
  },
  { description: 'where blobs are kept', default: {} },
);

export type BlobsConfig = Static<typeof BlobsOptions>;

/** Tells of every setting that does not fit another one. */
export function checkBlobs(
  { driver, s3 }: BlobsConfig,
  refuse: (path: string, message: string) => void,
): void {
  if (driver === 'filesystem') {
    if (s3.bucket !== undefined) refuse('blobs.s3.bucket', 'is for driver s3; set blobs.driver');
    return;
  }
  if (s3.bucket === undefined) refuse('blobs.s3.bucket', 'driver s3 needs it');
  if (s3.endpoint !== undefined && !isServiceUrl(s3.endpoint)) {
    refuse('blobs.s3.endpoint', 'is not http:// or https:// with a host and nothing behind it');
  }
  for (const key of ['accessKeyId', 'secretAccessKey'] as const) {
    if (s3[key] === undefined || s3[`${key}File`] === undefined) continue;
    refuse(`blobs.s3.${key}File`, `${key} is set too; keep one of them`);
  }
  const hasKey = (s3.accessKeyId ?? s3.accessKeyIdFile) !== undefined;
  const hasSecret = (s3.secretAccessKey ?? s3.secretAccessKeyFile) !== undefined;
  if (hasKey && !hasSecret) refuse('blobs.s3.secretAccessKeyFile', 'the access key needs it');
  if (hasSecret && !hasKey) refuse('blobs.s3.accessKeyId', 'secretAccessKey needs it');
}

function isServiceUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, pathname, search, hash, username, password } = new URL(text);
  const bare = pathname === '/' && `${search}${hash}${username}${password}` === '';
  return bare && (protocol === 'http:' || protocol === 'https:');
}
