import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ADMIN, TestHub } from '../registry/test-hub.ts';
import { startFaultyRegistry, type Reply } from './faulty-registry.ts';
import { runSuite } from './suite.ts';

let hub: TestHub;
before(async () => {
  hub = await TestHub.start();
});
after(() => hub[Symbol.asyncDispose]());

async function failedWith(
  spoil: (reply: Reply) => void,
  only: readonly string[],
): Promise<string[]> {
  await using faulty = await startFaultyRegistry(hub.url, spoil);
  const url = new URL(faulty.url);
  const results = await runSuite({ url, spec: 'dev', credentials: ADMIN, only });
  return results.filter(({ outcome }) => outcome === 'failed').map(({ id }) => id);
}

function without(name: string) {
  return ({ headers }: Reply): void => void delete headers[name];
}

function onPath(pattern: RegExp, spoil: (reply: Reply) => void) {
  return (reply: Reply): void => {
    if (pattern.test(`${reply.method} ${reply.path}`)) spoil(reply);
  };
}

/** Changes the JSON of answers. */
function inText(from: string | RegExp, to: string) {
  return (reply: Reply): void => {
    reply.body = Buffer.from(reply.body.toString().replace(from, to));
  };
}

/** One fault, and the checks that have to tell of it. */
const FAULTS: readonly [what: string, spoil: (reply: Reply) => void, failing: string[]][] = [
  ['no digest is told', without('docker-content-digest'), ['manifests/digest and size are told']],
  ['no subject is told', without('oci-subject'), ['data/missing subject/sha256/push']],
  ['no Location', without('location'), ['blobs/sha256/push by POST and PUT']],
  ['no Range of an upload', without('range'), ['uploads/status', 'blobs/sha256/push as a stream']],
  ['no Link', onPath(/referrers/, without('link')), ['referrers/more than one manifest holds']],
  ['filters are not told', without('oci-filters-applied'), ['referrers/by artifactType']],
  [
    'referrers without annotations',
    onPath(/referrers/, inText(/,"annotations":\{[^}]*\}/g, '')),
    ['referrers/type and annotations', 'data/subject/sha256/referrers'],
  ],
  [
    'an empty list of referrers',
    onPath(/referrers/, inText(/"manifests":\[.*\]/s, '"manifests":[]')),
    ['referrers/that are indexes', 'referrers/in a fallback tag too'],
  ],
  ['one tag less', onPath(/tags\/list/, inText(/,"[^"]*"\]/, ']')), ['tags/list in order']],
  [
    'tags in another order',
    onPath(/tags\/list/, (reply) => {
      const body: { tags?: string[] } = JSON.parse(reply.body.toString());
      reply.body = Buffer.from(JSON.stringify({ ...body, tags: body.tags?.toReversed() }));
    }),
    ['tags/list in order', 'tags/n of them behind last'],
  ],
  [
    'manifests written anew',
    onPath(/^GET .*manifests/, (reply) => {
      if (reply.status !== 200) return;
      reply.body = Buffer.from(JSON.stringify(JSON.parse(reply.body.toString())));
    }),
    ['manifests/bytes are kept, white space and unknown members too'],
  ],
  [
    'manifests of another type',
    onPath(/manifests/, ({ headers }) => void (headers['content-type'] = 'application/json')),
    ['manifests/Content-Type has no parameters', 'data/image/sha256/push'],
  ],
  [
    'ranges are ignored',
    onPath(/^GET .*blobs/, (reply) => {
      if (reply.status === 206) reply.status = 200;
    }),
    ['blobs/sha256/pull bytes=500-', 'blobs/sha512/pull bytes=-500'],
  ],
  [
    'chunks out of order are taken',
    (reply) => {
      if (reply.status === 416) reply.status = 202;
    },
    ['blobs/sha256/push in chunks out of order'],
  ],
  [
    'deleted content stays',
    (reply) => {
      if (reply.status === 404) reply.status = 200;
    },
    ['delete/tag', 'delete/manifest', 'blobs/sha256/delete', 'data/image/sha256/delete'],
  ],
  [
    'no tags of a push',
    onPath(/PUT .*\?tag=/, ({ headers }) => {
      headers['oci-tag'] = 'other';
    }),
    ['tag parameters/1 with a sha256 digest'],
  ],
  [
    'another host told back',
    ({ headers }) => void (headers['oci-namespace'] &&= 'other.example'),
    ['namespace/told back'],
  ],
  [
    'an error in a form of its own',
    inText(/"code":"[A-Z_]+"/, '"code":"ODD"'),
    ['errors/format and codes'],
  ],
  [
    'a warning with a date',
    ({ headers }) => void (headers['warning'] = '299 - "careful" "Sat, 01 Jan 2028 00:00:00 GMT"'),
    ['warnings/format'],
  ],
];

for (const [what, spoil, failing] of FAULTS) {
  test(`the suite sees: ${what}`, async () => {
    for (const id of failing) {
      // A set has to be pushed first; what holds for all answers needs some.
      const first = id.startsWith('data/') ? id.replace(/[^/]+$/, '') : 'delete/';
      // oxlint-disable-next-line no-await-in-loop -- one run after the other
      const failed = await failedWith(spoil, [first, id]);
      assert.ok(failed.includes(id), `${id} does not fail, but ${failed.join(', ') || 'none'}`);
    }
  });
}

test('the suite logs in by Basic when that is what is asked for, and sees no fault', async () => {
  const failed = await failedWith(
    ({ headers }) => {
      if (headers['www-authenticate'] !== undefined)
        headers['www-authenticate'] = 'Basic realm="x"';
    },
    ['blobs/sha256/mount'],
  );
  assert.deepEqual(failed, []);
});
