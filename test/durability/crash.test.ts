import { postgresForTests } from '../rig/postgres.ts';
import { crashRounds } from './crash-rounds.ts';

const { skip, server: postgres } = postgresForTests();

crashRounds('SQLite and files', {}, async () => ({ sections: {}, collects: true }));
crashRounds('PostgreSQL and files', { skip }, async () => {
  const server = await postgres();
  const url = server.url(await server.createDatabase());
  // Its blobs may be those of other hubs too, for all it knows.
  return { sections: { catalog: { url, tls: 'off' } }, collects: false };
});
