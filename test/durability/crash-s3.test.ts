import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { postgresForTests } from '../rig/postgres.ts';
import { missingForRadosgw } from '../rig/radosgw.ts';
import { BUCKET, S3Server } from '../registry/s3/s3-rig.ts';
import { crashRounds } from './crash-rounds.ts';
import { CrashTrial, type TrialPlace } from './crash-trial.ts';

const { skip: withoutPostgres, server: postgres } = postgresForTests();
const withoutS3 = missingForRadosgw();
const skip = withoutPostgres === false ? withoutS3 : withoutPostgres;
let starting: Promise<S3Server> | undefined;
let prefixes = 0;

before(async () => {
  if (withoutS3 !== false) return;
  starting = S3Server.start();
  await starting;
});
after(async () => {
  const begun = await starting?.catch(() => undefined);
  await begun?.[Symbol.asyncDispose]();
});

async function gatewayOf(): Promise<S3Server['gateway']> {
  const gateway = (await starting)?.gateway;
  assert.ok(gateway);
  return gateway;
}

/** Blobs in a part of the bucket of their own. */
async function inBucket(catalog: object): Promise<TrialPlace> {
  const server = await starting;
  assert.ok(server);
  prefixes += 1;
  const prefix = `crash-${prefixes}/`;
  const { endpoint, accessKeyId, secretAccessKey } = server.gateway;
  const s3 = { endpoint, bucket: BUCKET, prefix, accessKeyId, secretAccessKey };
  return {
    sections: { ...catalog, blobs: { driver: 's3', s3 } },
    collects: true,
    bucket: async () => Object.values(await server.keys(prefix)).flat(),
  };
}

async function inPostgres(): Promise<TrialPlace> {
  const server = await postgres();
  const url = server.url(await server.createDatabase());
  return inBucket({ catalog: { url, tls: 'off' } });
}

crashRounds('SQLite and S3', { skip: withoutS3 }, () => inBucket({}));
crashRounds('PostgreSQL and S3', { skip }, inPostgres);

test('PostgreSQL killed under pushes: 503, then all goes on', { skip }, async () => {
  await using trial = await CrashTrial.open(await inPostgres(), 1);
  const server = await postgres();
  await trial.outage(async () => {
    await server.crash();
    return () => server.resume();
  });
});

test('the gateway of S3 killed under pushes: 503, then all goes on', { skip }, async () => {
  await using trial = await CrashTrial.open(await inPostgres(), 2);
  const gateway = await gatewayOf();
  await trial.outage(async () => {
    await gateway.away();
    return () => gateway.back();
  });
});
