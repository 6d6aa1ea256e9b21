import assert from 'node:assert/strict';
import { test } from 'node:test';
import { interruptedPull } from '../replication/restart-trial.ts';
import { missingDockerRegistry, startDockerRegistry } from '../rig/docker-registry.ts';
import { postgresForTests } from '../rig/postgres.ts';
import { s3ForTests } from '../registry/s3/s3-rig.ts';
import { resumesBlob } from '../upstream/resume-trial.ts';
import { crashRounds } from './crash-rounds.ts';
import { CrashTrial, type TrialPlace } from './crash-trial.ts';

const { skip: withoutPostgres, server: postgres } = postgresForTests();
const { skip: withoutS3, server: bucket } = s3ForTests();
const skip = withoutPostgres === false ? withoutS3 : withoutPostgres;
let prefixes = 0;

type Place = TrialPlace & { prefix: string };

/** Blobs in a part of the bucket of their own. */
function inBucket(catalog: object): Place {
  prefixes += 1;
  const prefix = `crash-${prefixes}/`;
  return {
    sections: { ...catalog, ...bucket().sections(prefix) },
    collects: true,
    bucket: async () => Object.values(await bucket().keys(prefix)).flat(),
    prefix,
  };
}

async function inPostgres(): Promise<Place> {
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

/** The bucket has so many blobs, and nothing that was begun. */
async function assertStored({ prefix }: Place, count: number): Promise<void> {
  const { objects, uploads } = await bucket().keys(prefix);
  assert.deepEqual([objects.length, uploads], [count, []], objects.join(' '));
}

test('killed while it fetches a blob of an upstream into S3: gone on with', { skip }, async (t) => {
  const place = await inPostgres();
  await resumesBlob(t, place.sections);
  await assertStored(place, 1);
});

const noRegistry = skip === false ? missingDockerRegistry() : skip;

test('killed while it copies an image into S3: gone on with', { skip: noRegistry }, async (t) => {
  const place = await inPostgres();
  await interruptedPull(t, startDockerRegistry, place.sections);
  await assertStored(place, 3);
});
