// A registry that would have the hub ask elsewhere, or give away its account.
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { test, type TestContext } from 'node:test';
import { secretsOf, testRegistry } from '../../proto/distribution/test-registry.ts';
import type { Lookup } from '../../proto/distribution/addresses.ts';
import { bytesOf } from '../../proto/distribution/test-registry.ts';
import { BLOB, BLOB_DIGEST, INTERACTIVE, LATEST, REMOTE } from './upstream-fixture.ts';
import { upstreamRig } from './upstream-fixture.ts';

const ACCOUNT = { username: 'ops', password: 'secret' };
const BASIC = `Basic ${Buffer.from('ops:secret').toString('base64')}`;

/** Finds the same address for every name. */
function at(address: string): Lookup {
  return (_host, _options, done) =>
    done(null, [{ address, family: address.includes(':') ? 6 : 4 }]);
}

/** A server beside the registry, reached as `cdn.example`. */
async function beside(t: TestContext, answer: RequestListener) {
  const server = await testRegistry(t, answer);
  return { server, host: `cdn.example:${server.host.split(':')[1]}` };
}

test('a realm at another host gets no account, listed or not', async (t) => {
  const { server, host } = await beside(t, (_request, response) => {
    response.end('{"token":"x"}');
  });
  const realms = [`http://${server.host}/token`, `http://${host}/token`, 'http://169.254.169.254/'];
  for (const realm of realms) {
    const settings = { credentials: [ACCOUNT], allowPlainHttp: true, tokenHosts: [host] };
    const challenge = { 'www-authenticate': `Bearer realm="${realm}",service="s"` };
    // oxlint-disable-next-line no-await-in-loop -- one registry at a time
    const rig = await upstreamRig(
      t,
      (_request, response) => void response.writeHead(401, challenge).end(),
      { settings, lookup: at('127.0.0.1') },
    );
    const asked = rig.upstream.getManifest(REMOTE, LATEST, INTERACTIVE);
    const code = realm.includes(host) ? 'ADDRESS_REFUSED' : 'REFUSED';
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(asked, { code }, realm);
    assert.deepEqual(secretsOf(rig.registry.requests), [undefined]);
  }
  assert.equal(server.requests.length, 0);
});

test('redirects in a circle end, and those into this network are not followed', async (t) => {
  const to = { location: '' };
  const settings = {
    allowPlainHttp: true,
    redirectHosts: ['cdn.example', '169.254.169.254', '127.0.0.1:1', '[::1]:1'],
  };
  const answer: RequestListener = ({ url = '' }, response) => {
    response.writeHead(307, { location: to.location || url }).end();
  };
  const loop = await upstreamRig(t, answer, { settings });
  const circle = loop.upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  await assert.rejects(circle, { code: 'REDIRECT_REFUSED', message: /more than 5 times/ });
  assert.equal(await loop.metric('upstream_connections'), 0);
  const cases = [
    ['http://cdn.example/x', '169.254.169.254'],
    ['http://cdn.example/x', '127.0.0.1'],
    ['http://cdn.example/x', '::1'],
    ['http://cdn.example/x', 'fe80::1'],
    ['http://169.254.169.254/latest/meta-data', '1.1.1.1'],
    ['http://127.0.0.1:1/x', '1.1.1.1'],
    ['http://[::1]:1/x', '1.1.1.1'],
  ] as const;
  for (const [location, address] of cases) {
    to.location = location;
    // oxlint-disable-next-line no-await-in-loop -- one registry at a time
    const rig = await upstreamRig(t, answer, { settings, lookup: at(address) });
    const asked = rig.upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
    const message = /upstreams\[0\]\.allowedNetworks/;
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(asked, { code: 'ADDRESS_REFUSED', message }, `${location} ${address}`);
    assert.equal(rig.registry.requests.length, 1);
  }
});

test('a name that leads elsewhere when it is asked again is not followed there', async (t) => {
  const { server, host } = await beside(t, (_request, response) => void response.end(BLOB));
  const asked: string[] = [];
  const lookup: Lookup = (name, _options, done) => {
    asked.push(name);
    // Only the first answer is in an allowed network.
    done(null, [{ address: asked.length === 1 ? '127.0.0.1' : '127.0.0.2', family: 4 }]);
  };
  const settings = {
    allowPlainHttp: true,
    redirectHosts: [host],
    allowedNetworks: ['127.0.0.1/32'],
  };
  const { upstream } = await upstreamRig(
    t,
    (_request, response) => void response.writeHead(307, { location: `http://${host}/x` }).end(),
    { settings, lookup },
  );
  const blob = await upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
  assert.deepEqual(await bytesOf(blob?.body), BLOB);
  assert.deepEqual(asked, ['cdn.example'], 'it is asked once, and that is where it goes');
  assert.deepEqual(
    server.requests.map(({ headers }) => headers.host),
    [host],
  );
});

test('the account stays with the registry, also beyond its port', async (t) => {
  const { server, host } = await beside(t, (_request, response) => void response.end(BLOB));
  for (const target of [host, server.host]) {
    const settings = {
      credentials: [ACCOUNT],
      allowPlainHttp: true,
      redirectHosts: [target],
      allowedNetworks: ['127.0.0.0/8'],
    };
    // oxlint-disable-next-line no-await-in-loop -- one registry at a time
    const rig = await upstreamRig(
      t,
      ({ headers }, response) => {
        if (headers.authorization === BASIC) {
          response.writeHead(307, { location: `http://${target}/x` }).end();
        } else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      },
      { settings, lookup: at('127.0.0.1') },
    );
    // oxlint-disable-next-line no-await-in-loop
    const blob = await rig.upstream.openBlob(REMOTE, BLOB_DIGEST, INTERACTIVE);
    // oxlint-disable-next-line no-await-in-loop
    assert.deepEqual(await bytesOf(blob?.body), BLOB);
    assert.deepEqual(secretsOf(rig.registry.requests), [undefined, BASIC]);
  }
  assert.deepEqual(secretsOf(server.requests), [undefined, undefined]);
});

test('an answer of another length or content than asked is none', async (t) => {
  const wrong: Record<string, RequestListener> = {
    BODY_SHORT: (_request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write(BLOB, () => response.destroy());
    },
    DIGEST_MISMATCH: (_request, response) => void response.end('{"schemaVersion":2}'),
    TOO_LARGE: (_request, response) => {
      response.writeHead(200, { 'content-length': String(5 * 1024 * 1024) }).end();
    },
    RANGE_IGNORED: (_request, response) => void response.end(BLOB),
  };
  for (const [code, answer] of Object.entries(wrong)) {
    // oxlint-disable-next-line no-await-in-loop -- one registry at a time
    const { upstream, metric } = await upstreamRig(t, answer);
    const reference = { kind: 'digest', digest: BLOB_DIGEST } as const;
    const isPart = code === 'RANGE_IGNORED';
    const asked: Promise<unknown> = isPart
      ? upstream.openBlob(REMOTE, BLOB_DIGEST, { ...INTERACTIVE, start: 5 })
      : upstream.getManifest(REMOTE, reference, INTERACTIVE);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(asked, { code }, code);
    // oxlint-disable-next-line no-await-in-loop
    assert.equal(await metric('upstream_requests_total', 'result="wrong"'), 1, code);
  }
});
