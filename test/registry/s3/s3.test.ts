import { blobStoreConformance } from '../../../hub/blobs/conformance.ts';
import { driverChecks } from './driver-checks.ts';
import { hubChecks } from './hub-checks.ts';
import { s3ForTests } from './s3-rig.ts';

const { skip, server } = s3ForTests();

blobStoreConformance('s3', () => server().rig(), { skip });
driverChecks({ skip, server });
hubChecks({ skip, server });
