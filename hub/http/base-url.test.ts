import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import { test, type TestContext } from 'node:test';
import { createBaseUrl, parseExternalUrl } from './base-url.ts';

/** The realm for a request with these headers, that came over a real connection. */
async function urlFor(
  t: TestContext,
  options: { externalUrl?: string; tls?: boolean; trustedProxies?: string[] },
  headers: Record<string, string | string[]>,
): Promise<string> {
  const { externalUrl, tls = false, trustedProxies = [] } = options;
  const baseUrl = createBaseUrl({ externalUrl, tls, trustedProxies });
  const server = createServer((_asked, answer) => answer.end());
  server.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const asked = request({ host: '127.0.0.1', port, headers, agent: false });
  asked.end();
  const [incoming]: IncomingMessage[] = await once(server, 'request');
  assert.ok(incoming);
  return baseUrl(incoming);
}

const SPOOFED = { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https' };

test('the hub is where the client asked for it, IPv6 and ports too', async (t) => {
  for (const host of ['hub.example', 'hub.example:7400', '[fd00::1]:7400', '10.0.0.1:1']) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal(await urlFor(t, {}, { host }), `http://${host}`);
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal(await urlFor(t, { tls: true }, { host }), `https://${host}`);
  }
});

test('a Host that is none is never repeated', async (t) => {
  const junk = [
    'a"b',
    'hub.example/path',
    'user@hub.example',
    'hub.example:99999',
    'hub.example:0',
    '[::1',
    '[1:2]',
    '[zz]:1',
    'a b',
    '.hub',
    'hub.example:80:80',
    'x'.repeat(300),
  ];
  for (const host of junk) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal(await urlFor(t, {}, { host }), 'http://localhost', host);
  }
});

test('what an address that is no trusted proxy forwards is ignored', async (t) => {
  const headers = { host: 'hub.example', ...SPOOFED };
  for (const trustedProxies of [[], ['10.0.0.0/8', '::1']]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    assert.equal(await urlFor(t, { trustedProxies }, headers), 'http://hub.example');
  }
});

test('a trusted proxy says how the hub is reached; junk from it falls back', async (t) => {
  const options = { trustedProxies: ['127.0.0.0/8'] };
  const via = (forwarded: Record<string, string>) =>
    urlFor(t, options, { host: 'inside:7400', ...forwarded });
  const proper = { 'x-forwarded-host': 'hub.example:8443', 'x-forwarded-proto': 'https' };
  assert.equal(await via(proper), 'https://hub.example:8443');
  assert.equal(await via({ 'x-forwarded-proto': 'HTTPS' }), 'https://inside:7400');
  const chain = {
    'x-forwarded-host': 'evil.example, hub.example',
    'x-forwarded-proto': 'x, https',
  };
  assert.equal(await via(chain), 'https://hub.example', 'the nearest proxy is believed');
  const junk = { 'x-forwarded-host': 'a"b', 'x-forwarded-proto': 'gopher' };
  assert.equal(await via(junk), 'http://inside:7400');
});

test('a configured URL wins over everything', async (t) => {
  const options = { externalUrl: 'https://hub.example', trustedProxies: ['127.0.0.1'] };
  assert.equal(await urlFor(t, options, SPOOFED), 'https://hub.example');
});

test('an external URL is scheme and host, nothing else', () => {
  assert.equal(parseExternalUrl('https://hub.example/'), 'https://hub.example');
  assert.equal(parseExternalUrl('http://[fd00::1]:7400'), 'http://[fd00::1]:7400');
  for (const text of [
    'hub.example',
    'ftp://hub.example',
    'https://',
    'https://hub.example/registry',
    'https://user@hub.example',
    'https://hub.example?x',
    'https://hub.example:70000',
    'https://a b',
  ]) {
    assert.equal(parseExternalUrl(text), undefined, text);
  }
});
