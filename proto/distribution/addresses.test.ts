import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import { isPublicAddress, type Lookup } from './addresses.ts';
import { BYTES, DIGEST, REPOSITORY, secretsOf, testRegistry } from './test-registry.ts';

const READ = { maxBytes: 100, authorization: 'Bearer secret' };
const PRIVATE = [
  ['127.0.0.1', '10.1.2.3', '172.16.0.1', '172.31.255.255', '192.168.0.1', '169.254.169.254'],
  ['100.64.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255', '192.0.0.1', '198.18.0.1', '240.0.0.1'],
  ['::1', '::', 'fe80::1', 'fd00::1', 'fc00::1', 'ff02::1', '::127.0.0.1', '2001:db8::1'],
  ['64:ff9b::7f00:1', '64:ff9b::a00:1', '64:ff9b::', '64:ff9b:1::1', '2002:7f00:1::', '2001::1'],
].flat();
const PUBLIC = [
  ['1.1.1.1', '172.15.0.1', '172.32.0.1', '100.128.0.1', '169.253.0.1', '192.169.0.1', '11.0.0.1'],
  ['2606:4700::1111', '2a00:1450:4001:80b::200e', '64:ff9b::101:101'],
].flat();

/** A lookup that finds one list of addresses after the other, the last one for ever. */
function finding(...answers: string[][]): { lookup: Lookup; asked: string[] } {
  const asked: string[] = [];
  const lookup: Lookup = (host, _options, done) => {
    const found = answers[Math.min(asked.length, answers.length - 1)] ?? [];
    asked.push(host);
    done(
      null,
      found.map((address) => ({ address, family: isIP(address) })),
    );
  };
  return { lookup, asked };
}

test('an address is public unless it is special in any form', () => {
  for (const address of PRIVATE) assert.equal(isPublicAddress(address), false, address);
  for (const address of PUBLIC) assert.equal(isPublicAddress(address), true, address);
});

/** A registry that redirects to `cdn.example`, which is a server on loopback. */
async function redirecting(t: Parameters<typeof testRegistry>[0]) {
  const store = await testRegistry(t, (_request, response) => void response.end(BYTES));
  const host = `cdn.example:${store.host.split(':')[1]}`;
  const registry = await testRegistry(t, (_request, response) => {
    response.writeHead(307, { location: `http://${host}/blob` }).end();
  });
  const client = (lookup: Lookup, allowedNetworks: string[] = []) =>
    registry.client({
      allowPlainHttp: true,
      redirectHosts: [host],
      addresses: { allowedNetworks, lookup, setting: 'upstreams[0].allowedNetworks' },
    });
  return { store, registry, client };
}

test('a redirect to a name that leads into this network is refused', async (t) => {
  const { store, client } = await redirecting(t);
  for (const address of [...PRIVATE, '::ffff:127.0.0.1', '::ffff:10.0.0.1']) {
    const { lookup } = finding([address]);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await assert.rejects(client(lookup).readBlob(REPOSITORY, DIGEST, READ), {
      data: { code: 'ADDRESS_REFUSED', host: 'cdn.example', address },
      message: /cdn\.example is at .*upstreams\[0\]\.allowedNetworks/,
    });
  }
  const mixed = finding(['1.1.1.1', '127.0.0.1']);
  const asked = client(mixed.lookup).readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(asked, { code: 'ADDRESS_REFUSED' });
  assert.equal(store.requests.length, 0);
});

test('a network that is listed may be redirected to, without the credentials', async (t) => {
  const { store, registry, client } = await redirecting(t);
  const { lookup } = finding(['127.0.0.1']);
  const blob = await client(lookup, ['127.0.0.0/8']).readBlob(REPOSITORY, DIGEST, READ);
  assert.deepEqual(blob, BYTES);
  assert.deepEqual(secretsOf(registry.requests), [READ.authorization]);
  assert.deepEqual(secretsOf(store.requests), [undefined]);
});

test('the address that is connected to is the one that was checked', async (t) => {
  const { store, client } = await redirecting(t);
  // Only 127.0.0.1 is listed, and answers; a second look would find another place.
  const { lookup, asked } = finding(['127.0.0.1'], ['127.0.0.2']);
  const own = client(lookup, ['127.0.0.1']);
  assert.deepEqual(await own.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  assert.deepEqual(asked, ['cdn.example']);
  const again = client(lookup, ['127.0.0.1']).readBlob(REPOSITORY, DIGEST, READ);
  await assert.rejects(again, {
    data: { code: 'ADDRESS_REFUSED', address: '127.0.0.2', host: 'cdn.example' },
  });
  assert.equal(store.requests.length, 1);
});

test('an address instead of a name is checked too, in every way to write it', async (t) => {
  const { lookup } = finding(['1.1.1.1']);
  const forms = ['127.0.0.1', '127.1', '0x7f000001', '2130706433', '[::1]', '[::ffff:127.0.0.1]'];
  const others = ['169.254.169.254', '[fe80::1]', '0.0.0.0', '[::]', '10.0.0.1', '[fd00::1]'];
  for (const form of [...forms, ...others]) {
    const { host } = new URL(`http://${form}:1/`);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const registry = await testRegistry(t, (_request, response) => {
      response.writeHead(307, { location: `http://${form}:1/blob` }).end();
    });
    const redirectHosts = [host];
    const client = registry.client({
      allowPlainHttp: true,
      redirectHosts,
      addresses: { allowedNetworks: [], lookup },
    });
    const asked = client.readBlob(REPOSITORY, DIGEST, READ);
    // oxlint-disable-next-line no-await-in-loop
    await assert.rejects(asked, { code: 'ADDRESS_REFUSED' }, form);
  }
});

test('the registry itself may be anywhere, but not its other ports', async (t) => {
  const { lookup, asked } = finding(['1.1.1.1']);
  const addresses = { allowedNetworks: [], lookup };
  const registry = await testRegistry(t, (_request, response) => void response.end(BYTES));
  const baseUrl = registry.url.replace('127.0.0.1', 'localhost');
  const client = registry.client({ baseUrl, addresses });
  assert.deepEqual(await client.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  assert.deepEqual(asked, [], 'it is not looked up as others are');
  const moved = await testRegistry(t, (_request, response) => {
    response.writeHead(307, { location: `${registry.url}/x` }).end();
  });
  const other = moved.client({ addresses, redirectHosts: [registry.host] });
  await assert.rejects(other.readBlob(REPOSITORY, DIGEST, READ), { code: 'ADDRESS_REFUSED' });
  assert.equal(registry.requests.length, 1);
});

test('a token service in this network gets credentials only if that is listed', async (t) => {
  const tokens = await testRegistry(t, (_request, response) => void response.end('{"token":"x"}'));
  const host = `auth.example:${tokens.host.split(':')[1]}`;
  const registry = await testRegistry(t, ({ headers }, response) => {
    if (headers.authorization === 'Bearer x') return void response.end(BYTES);
    const challenge = `Bearer realm="http://${host}/token",service="s"`;
    return void response.writeHead(401, { 'www-authenticate': challenge }).end();
  });
  const { lookup } = finding(['127.0.0.1']);
  const client = (allowedNetworks: string[]) =>
    registry.client({
      allowPlainHttp: true,
      tokenHosts: [host],
      credentials: { username: 'u', password: 'p' },
      addresses: { allowedNetworks, lookup },
    });
  const read = { maxBytes: 100 };
  const asked = client([]).readBlob(REPOSITORY, DIGEST, read);
  await assert.rejects(asked, { code: 'ADDRESS_REFUSED' });
  assert.equal(tokens.requests.length, 0);
  assert.deepEqual(await client(['127.0.0.1']).readBlob(REPOSITORY, DIGEST, read), BYTES);
});
