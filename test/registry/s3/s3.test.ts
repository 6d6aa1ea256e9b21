import { after, before } from 'node:test';
import { blobStoreConformance } from '../../../hub/blobs/conformance.ts';
import { missingForRadosgw } from '../../rig/radosgw.ts';
import { driverChecks } from './driver-checks.ts';
import { hubChecks } from './hub-checks.ts';
import { S3Server } from './s3-rig.ts';

const skip = missingForRadosgw();
let starting: Promise<S3Server> | undefined;
let started: S3Server | undefined;

function server(): S3Server {
  if (started === undefined) throw new Error('the S3 server did not start');
  return started;
}

before(async () => {
  if (skip !== false) return;
  starting = S3Server.start();
  started = await starting;
});
after(async () => {
  const begun = await starting?.catch(() => undefined);
  await begun?.[Symbol.asyncDispose]();
});

blobStoreConformance('s3', () => server().rig(), { skip });
driverChecks({ skip, server });
hubChecks({ skip, server });
