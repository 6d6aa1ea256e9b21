import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { postgresForTests } from '../../test/rig/postgres.ts';
import { FilesystemBlobStore } from '../blobs/filesystem.ts';
import { openPostgresCatalog } from '../catalog/postgres-catalog.ts';
import { TestGc } from './gc-fixture.ts';
import { raceConformance } from './race-conformance.ts';

const { skip, server: postgres } = postgresForTests();

raceConformance('SQLite and files', async (t) => [await TestGc.start(t)]);

raceConformance(
  'PostgreSQL and files',
  async (t) => {
    const server = await postgres();
    const database = await server.createDatabase();
    const catalog = await openPostgresCatalog({ ...server.target, database });
    const root = await mkdtemp(path.join(tmpdir(), 'flotilla-race-'));
    const blobs = await FilesystemBlobStore.open({ root });
    const gc = await TestGc.start(t, { catalog, blobs });
    t.after(async () => {
      await blobs.close();
      await catalog.close();
      await rm(root, { recursive: true });
    });
    return [gc];
  },
  { skip },
);
