import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { proxiesOf, proxyOf } from './proxies.ts';
import { TEST_CERTIFICATE } from './test-certificate.ts';
import { BYTES, DIGEST, REPOSITORY, testRegistry } from './test-registry.ts';

const READ = { maxBytes: 100, authorization: 'Bearer secret' };

/** A proxy on loopback: what it was asked for, all of which it finds at `to`. */
async function testProxy(t: TestContext, to: { host: string }) {
  const [hostname = '', port = ''] = to.host.split(':');
  const asked: string[] = [];
  const server = createServer((incoming, response) => {
    asked.push(incoming.url ?? '');
    const { pathname: path } = new URL(incoming.url ?? '');
    const { headers } = incoming;
    httpRequest({ hostname, port, path, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    }).end();
  });
  server.on('connect', (incoming, client) => {
    asked.push(`${incoming.url} ${incoming.headers['proxy-authorization'] ?? ''}`.trim());
    const target = connect(Number(port), hostname, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      target.pipe(client).pipe(target);
    });
    for (const socket of [client, target]) socket.on('error', () => {});
    t.after(() => target.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- it listens on a port
  const address = server.address() as AddressInfo;
  return { url: `http://user:p%40ss@127.0.0.1:${address.port}`, asked };
}

const via = (url: string, noProxy: string[] = []) => ({ https: url, http: url, noProxy });

test('a registry behind a proxy is asked through it, over TLS end to end', async (t) => {
  const registry = await testRegistry(t, (_request, response) => void response.end(BYTES), {
    tls: true,
  });
  const proxy = await testProxy(t, registry);
  const baseUrl = `https://localhost:${registry.host.split(':')[1]}`;
  const client = registry.client({ baseUrl, ca: TEST_CERTIFICATE, proxies: via(proxy.url) });
  assert.deepEqual(await client.readBlob(REPOSITORY, DIGEST, READ), BYTES);
  const account = Buffer.from('user:p@ss').toString('base64');
  assert.deepEqual(proxy.asked, [`${new URL(baseUrl).host} Basic ${account}`]);
  assert.equal(registry.requests[0]?.headers['proxy-authorization'], undefined);
});

test('behind a proxy names are those that are listed, and addresses are checked', async (t) => {
  const store = await testRegistry(t, (_request, response) => void response.end(BYTES));
  const proxy = await testProxy(t, store);
  const targets = {
    'cdn.example': undefined,
    '10.0.0.1': 'ADDRESS_REFUSED',
    'no.example': 'REDIRECT_REFUSED',
  };
  for (const [host, code] of Object.entries(targets)) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const registry = await testRegistry(t, (_request, response) => {
      response.writeHead(307, { location: `http://${host}/blob` }).end();
    });
    const client = registry.client({
      allowPlainHttp: true,
      redirectHosts: ['cdn.example', '10.0.0.1'],
      addresses: { allowedNetworks: [] },
      proxies: via(proxy.url, ['127.0.0.1']),
    });
    const asked = client.readBlob(REPOSITORY, DIGEST, READ);
    // oxlint-disable-next-line no-await-in-loop
    if (code === undefined) assert.deepEqual(await asked, BYTES);
    // oxlint-disable-next-line no-await-in-loop
    else await assert.rejects(asked, { code }, host);
  }
  assert.equal(proxy.asked.length, 1);
  assert.equal(store.requests[0]?.headers.authorization, undefined);
});

test('the environment names proxies in the usual ways', () => {
  const cases = [
    [{}, undefined],
    [{ HTTPS_PROXY: 'http://a:1' }, 'http://a:1'],
    [{ https_proxy: 'http://a:1', HTTPS_PROXY: 'http://b:1' }, 'http://a:1'],
    [{ HTTPS_PROXY: 'a:1' }, 'http://a:1'],
    [{ HTTPS_PROXY: '  ' }, undefined],
    [{ HTTP_PROXY: 'http://a:1' }, undefined],
  ] as const;
  for (const [env, expected] of cases) {
    const rule = proxiesOf({}, env);
    assert.equal(proxyOf(new URL('https://r.example'), rule), expected, JSON.stringify(env));
  }
  const env = { HTTPS_PROXY: 'http://a:1', NO_PROXY: 'r.example, .lan' };
  const direct = (url: string, own = {}): boolean =>
    proxyOf(new URL(url), proxiesOf(own, env)) === undefined;
  assert.ok(direct('https://r.example') && direct('https://a.lan'));
  assert.ok(direct('https://localhost:5000') && direct('https://[::1]') && direct('https://127.1'));
  assert.ok(!direct('https://r.example', { noProxy: [] }));
  assert.ok(!direct('https://localhost', { proxy: 'http://b:1', noProxy: [] }));
  assert.equal(proxiesOf({ proxy: 'none' }, env), undefined);
});

test('what is not to be proxied is not', () => {
  const cases: readonly [entry: string, url: string, direct: boolean][] = [
    ['*', 'https://r.example', true],
    ['r.example', 'https://r.example', true],
    ['R.example', 'https://a.r.example', true],
    ['.r.example', 'https://a.r.example', true],
    ['*.r.example', 'https://a.r.example', true],
    ['r.example', 'https://evil-r.example', false],
    ['r.example:443', 'https://r.example', true],
    ['r.example:8443', 'https://r.example', false],
    ['10.0.0.0/8', 'https://10.1.2.3', true],
    ['10.0.0.0/8', 'https://11.1.2.3', false],
    ['10.0.0.0/8', 'https://r.example', false],
    ['10.1.2.3', 'https://10.1.2.3:5000', true],
    ['fd00::/8', 'https://[fd00::1]', true],
    ['[fd00::1]', 'https://[fd00::1]', true],
    ['example', 'https://r.example', true],
    ['', 'https://r.example', false],
    ['.', 'https://r.example', false],
  ];
  for (const [entry, url, direct] of cases) {
    const proxy = proxyOf(new URL(url), via('http://a:1', [entry]));
    assert.equal(proxy === undefined, direct, `${entry} ${url}`);
  }
});
