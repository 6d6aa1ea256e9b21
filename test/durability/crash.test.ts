import { postgresForTests } from '../rig/postgres.ts';
import { crashRounds } from './crash-rounds.ts';

const { skip, server: postgres } = postgresForTests();

crashRounds({ catalog: 'SQLite', blobs: 'files' }, {}, async () => ({
  sections: {},
  collects: true,
}));
crashRounds({ catalog: 'PostgreSQL', blobs: 'files' }, { skip }, async () => {
  const server = await postgres();
  const url = server.url(await server.createDatabase());
  // Its blobs may be those of other hubs too, for all it knows.
  return { sections: { catalog: { url, tls: 'off' } }, collects: false };
});
