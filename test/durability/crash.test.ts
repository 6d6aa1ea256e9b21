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
  return { sections: { catalog: { url, tls: 'off' } }, collects: true };
});
