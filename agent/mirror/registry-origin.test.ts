import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { RegistryClient } from '../../proto/distribution/registry-client.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository, parseTag } from '../../proto/oci/name.ts';
import { bindServer, formatListen } from '../../proto/ops/listen.ts';
import { MirrorError } from './errors.ts';
import { MANIFEST_TYPE } from './fixture-images.ts';
import { RegistryOrigin } from './registry-origin.ts';

const APP = parseRepository('team/app');
const TAG = { kind: 'tag', tag: parseTag('v1') } as const;
const BYTES = Buffer.from('{"schemaVersion":2,"layers":[]}');
const CHALLENGE = 'Bearer realm="https://auth.example/token",service="r",scope="repository:x:pull"';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An origin over a registry that answers everything the same way. */
async function originOf(answer: Answer): Promise<{ origin: RegistryOrigin } & AsyncDisposable> {
  const server = createServer(answer);
  const baseUrl = `http://${formatListen(await bindServer(server, '127.0.0.1:0'))}`;
  const client = new RegistryClient({ baseUrl, allowPlainHttp: false });
  return {
    origin: new RegistryOrigin(client),
    [Symbol.asyncDispose]: async () => {
      await client.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

function status(code: number, headers: Record<string, string> = {}): Answer {
  return (_request, response) => response.writeHead(code, headers).end();
}

test('the challenge of the registry comes back word for word', async () => {
  await using on = await originOf(status(401, { 'www-authenticate': CHALLENGE }));
  const isChallenge = (err: unknown): boolean =>
    err instanceof MirrorError &&
    err.data.code === 'UNAUTHORIZED' &&
    err.data.challenge === CHALLENGE;
  for (const authorization of [undefined, 'Bearer stale']) {
    await assert.rejects(on.origin.getManifest(APP, TAG, { authorization }), isChallenge);
    await assert.rejects(on.origin.headManifest(APP, TAG, { authorization }), isChallenge);
  }
});

test('a hub that means the registry behind it is not busy itself', async () => {
  const away = 'docker.io allows no more pulls until 2026-01-01T00:00:00.000Z';
  for (const [headers, reason] of [
    [{ 'flotilla-upstream-away': away }, 'upstream'],
    [{ 'flotilla-upstream-away': 'x'.repeat(4096) }, 'busy'],
    [{}, 'busy'],
  ] as const) {
    await using on = await originOf(status(503, { 'retry-after': '9', ...headers }));
    const isSaid = (err: unknown): boolean =>
      err instanceof MirrorError && err.data.code === 'UNAVAILABLE' && err.data.reason === reason;
    await assert.rejects(on.origin.headManifest(APP, TAG, {}), isSaid);
    await assert.rejects(on.origin.getManifest(APP, TAG, {}), isSaid);
  }
});

test("the runtime's credentials reach the registry as they are", async () => {
  const seen: (string | undefined)[] = [];
  await using on = await originOf((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(200, { 'content-type': MANIFEST_TYPE }).end(BYTES);
  });
  const got = await on.origin.getManifest(APP, TAG, { authorization: 'Basic cG9k' });
  assert.deepEqual(got, { bytes: BYTES, digest: digestOf(BYTES), mediaType: MANIFEST_TYPE });
  assert.deepEqual(seen, ['Basic cG9k']);
});

test('what is not there, or not for us, is not there', async () => {
  for (const code of [403, 404]) {
    await using on = await originOf(status(code));
    assert.equal(await on.origin.getManifest(APP, TAG, {}), undefined);
    assert.equal(await on.origin.headManifest(APP, TAG, {}), undefined);
    assert.equal(await on.origin.headBlob(APP, digestOf(BYTES), {}), undefined);
  }
});

/** What `getManifest` failed with, and the reason why it is unavailable. */
async function reasonOf(answer: Answer): Promise<string> {
  await using on = await originOf(answer);
  try {
    await on.origin.getManifest(APP, TAG, {});
  } catch (err) {
    if (err instanceof MirrorError && err.data.code === 'UNAVAILABLE') return err.data.reason;
    throw err;
  }
  return 'an answer';
}

test('a registry that cannot answer is unreachable, whatever it says', async () => {
  const answers: Answer[] = [
    status(408),
    status(500),
    status(502),
    (_request, response) => response.destroy(),
    (_request, response) => {
      response.writeHead(200, { 'content-length': 1_000 });
      response.write('short', () => response.destroy());
    },
  ];
  for (const answer of answers) assert.equal(await reasonOf(answer), 'unreachable');
});

test('a registry that refuses for now is busy', async () => {
  for (const answer of [status(429, { 'retry-after': '1' }), status(503)]) {
    // oxlint-disable-next-line no-await-in-loop -- one registry after the other
    assert.equal(await reasonOf(answer), 'busy');
  }
});

test('a registry that answers with something of no use has answered', async () => {
  const other = digestOf(Buffer.from('other bytes'));
  const answers: Answer[] = [
    status(400),
    status(307, { location: 'https://elsewhere.example/' }),
    (_request, response) => {
      response.writeHead(200, { 'docker-content-digest': other }).end(BYTES);
    },
    (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(BYTES),
  ];
  for (const answer of answers) assert.equal(await reasonOf(answer), 'source');
});

test('a registry that tells no length is asked for the manifest itself', async () => {
  await using on = await originOf((request, response) => {
    response.setHeader('content-type', MANIFEST_TYPE);
    response.setHeader('transfer-encoding', 'chunked');
    response.end(request.method === 'HEAD' ? undefined : BYTES);
  });
  const head = await on.origin.headManifest(APP, TAG, {});
  assert.equal(head?.size, BYTES.length);
  assert.equal(head?.digest, digestOf(BYTES));
});

test('what the registry calls stale is stale here too', async () => {
  const headers = { 'content-type': MANIFEST_TYPE, warning: '110 - "Response is Stale"' };
  await using on = await originOf((_request, response) =>
    response.writeHead(200, { ...headers, 'content-length': BYTES.length }).end(BYTES),
  );
  assert.equal((await on.origin.headManifest(APP, TAG, {}))?.isStale, true);
  assert.equal((await on.origin.getManifest(APP, TAG, {}))?.isStale, true);
});
