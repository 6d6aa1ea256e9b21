import { test } from 'node:test';
import { postgresForTests } from '../rig/postgres.ts';
import { s3ForTests } from '../registry/s3/s3-rig.ts';
import { crashRounds } from './crash-rounds.ts';
import { CrashTrial, type TrialPlace } from './crash-trial.ts';

const { skip: withoutPostgres, server: postgres } = postgresForTests();
const { skip: withoutS3, server: bucket } = s3ForTests();
const skip = withoutPostgres === false ? withoutS3 : withoutPostgres;
let prefixes = 0;

/** Blobs in a part of the bucket of their own. */
function inBucket(catalog: object): TrialPlace {
  prefixes += 1;
  const prefix = `crash-${prefixes}/`;
  return {
    sections: { ...catalog, ...bucket().sections(prefix) },
    collects: true,
    bucket: async () => Object.values(await bucket().keys(prefix)).flat(),
  };
}

async function inPostgres(): Promise<TrialPlace> {
  const server = await postgres();
  const url = server.url(await server.createDatabase());
  return inBucket({ catalog: { url, tls: 'off' } });
}

crashRounds({ catalog: 'SQLite', blobs: 's3' }, { skip: withoutS3 }, async () => inBucket({}));
crashRounds({ catalog: 'PostgreSQL', blobs: 's3' }, { skip }, inPostgres);

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
  const { gateway } = bucket();
  await trial.outage(async () => {
    await gateway.away();
    return () => gateway.back();
  });
});
