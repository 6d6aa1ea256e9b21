import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BYTES, DIGEST, REPOSITORY, secretsOf, testRegistry } from './test-registry.ts';
import { TEST_CERTIFICATE } from './test-certificate.ts';

const READ = { maxBytes: 100, authorization: 'Bearer secret' };
const tls = { tls: true };

test('a registry is believed under the configured certificate and no other', async (t) => {
  const registry = await testRegistry(t, (_request, response) => void response.end(BYTES), tls);
  const trusting = registry.client({ ca: TEST_CERTIFICATE });
  assert.deepEqual(await trusting.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  const strict = registry.client().readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(strict, { code: 'UNREACHABLE' });
  assert.equal(registry.requests.length, 1);
});

test('a redirect never leads out of TLS, whatever is allowed and listed', async (t) => {
  const store = await testRegistry(t, (_request, response) => void response.end(BYTES));
  const target = { location: `${store.url}/blob` };
  const registry = await testRegistry(
    t,
    (_request, response) => void response.writeHead(307, target).end(),
    tls,
  );
  const client = registry.client({
    ca: TEST_CERTIFICATE,
    allowPlainHttp: true,
    redirectHosts: [store.host],
  });
  const asked = client.readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(asked, { code: 'REDIRECT_REFUSED', message: /plain http/ });
  assert.equal(store.requests.length, 0);
});

test('a redirect from one TLS host to another leaves the credentials behind', async (t) => {
  const store = await testRegistry(t, (_request, response) => void response.end(BYTES), tls);
  const target = { location: `${store.url}/blob` };
  const registry = await testRegistry(
    t,
    (_request, response) => void response.writeHead(307, target).end(),
    tls,
  );
  const client = registry.client({ ca: TEST_CERTIFICATE, redirectHosts: [store.host] });
  assert.deepEqual(await client.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  assert.deepEqual(secretsOf(store.requests), [undefined]);
});
