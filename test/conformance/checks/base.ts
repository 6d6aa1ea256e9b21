import { expectRefused, expectStatus, describeAnswer } from '../answer.ts';
import { fail, inOrder, skip, type Check } from '../check.ts';
import { randomBlob } from '../content.ts';

const NAMES = 'Pulling manifests';
/** None of these matches the grammar of repository names. */
const BAD_NAMES = [
  'Upper/case',
  '-lead/app',
  'trail-/app',
  'two..dots/app',
  'three___lines/app',
  'team//app',
  'team/../app',
  'team%2fapp',
  'team/app.',
  'team/a+b',
];

export const baseChecks: readonly Check[] = [
  {
    id: 'base/get',
    spec: 'Determining Support',
    level: 'MUST',
    since: '1.1',
    run: async ({ http }) => expectStatus(await http.ask('/v2/'), 200),
  },
  ...BAD_NAMES.map((name): Check => ({
    id: `names/push to ${name}`,
    spec: NAMES,
    level: 'MUST',
    since: '1.1',
    run: async ({ http }) => {
      const answer = await http.ask(`/v2/${name}/blobs/uploads/`, { method: 'POST' });
      // A router may clean the path and send the client elsewhere.
      if (answer.status < 300 || answer.status > 499) {
        fail(`${describeAnswer(answer)}; ${name} is no name of a repository`);
      }
    },
  })),
  {
    id: 'names/pull from a bad name',
    spec: NAMES,
    level: 'MUST',
    since: '1.1',
    run: ({ http }) =>
      inOrder(['Upper/case', 'team/-app', 'team/a+b'], async (name) => {
        const { digest } = randomBlob(8);
        expectStatus(await http.ask(`/v2/${name}/manifests/latest`), 400, 404);
        expectStatus(await http.ask(`/v2/${name}/blobs/${digest}`), 400, 404);
      }),
  },
  {
    id: 'names/unknown repository',
    spec: 'Pushing Manifests',
    level: 'MUST',
    since: '1.1',
    run: async ({ http, repo }) => {
      const name = `${repo.name}-never-pushed`;
      expectStatus(await http.ask(`/v2/${name}/manifests/latest`), 404);
      expectStatus(await http.ask(`/v2/${name}/blobs/${randomBlob(8).digest}`), 404);
    },
  },
  {
    id: 'tags/names that are none',
    spec: NAMES,
    level: 'MUST',
    since: '1.1',
    run: async ({ repo }) => {
      const image = await repo.pushImage();
      const bad = ['.dot', '-dash', 'pl+us', 'a~b', 'x'.repeat(129)];
      await inOrder(bad, async (tag) => expectRefused(await repo.putManifest(tag, image)));
    },
  },
  {
    id: 'tags/longest name',
    spec: NAMES,
    level: 'MUST',
    since: '1.1',
    run: async ({ repo }) => void (await repo.pushImage([`_A.b-${'x'.repeat(123)}`])),
  },
];

/** Rules about every answer of the run; they come last. */
export const finalChecks: readonly Check[] = [
  {
    id: 'errors/format and codes',
    spec: 'Error Codes',
    level: 'MUST',
    since: '1.1',
    run: async ({ http }) => {
      const { seen, violations } = http.observer.errors;
      if (seen === 0) skip('no answer of 400 to 499 had a body in JSON');
      if (violations.length > 0) fail(violations.join('; '));
    },
  },
  {
    id: 'warnings/format',
    spec: 'Warnings',
    level: 'MUST',
    since: '1.1',
    run: async ({ http }) => {
      const { seen, violations } = http.observer.warnings;
      if (seen === 0) skip('no answer had a Warning header');
      if (violations.length > 0) fail(violations.join('; '));
    },
  },
];
