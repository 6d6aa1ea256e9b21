import { test } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { bindServer, formatListen, parseListen } from './listen.ts';

test('addresses of both families, names and bare ports are read', () => {
  assert.deepEqual(parseListen('127.0.0.1:7410'), { host: '127.0.0.1', port: 7410 });
  assert.deepEqual(parseListen('[::1]:7410'), { host: '::1', port: 7410 });
  assert.deepEqual(parseListen(':7400'), { host: '::', port: 7400 });
  assert.deepEqual(parseListen('localhost:0'), { host: 'localhost', port: 0 });
  assert.equal(formatListen(parseListen('[::1]:7410')), '[::1]:7410');
});

test('anything else is refused', () => {
  const bad = ['7410', '::1:7410', '[::1]', '[127.0.0.1]:1', '127.0.0.1:70000', '1.2.3:4', 'a b:1'];
  for (const text of [...bad, '', ':', '-a:1', '127.0.0.1:-1', 'http://a:1']) {
    assert.throws(() => parseListen(text), { code: 'LISTEN_INVALID' }, text);
  }
});

test('a taken port is reported with the address', async () => {
  const first = createServer();
  const bound = await bindServer(first, '127.0.0.1:0');
  try {
    await assert.rejects(bindServer(createServer(), formatListen(bound)), {
      code: 'LISTEN_FAILED',
      message: new RegExp(`cannot listen on 127.0.0.1:${bound.port}`),
    });
  } finally {
    first.close();
  }
});

test('an IPv6 address can leave the port to another server for IPv4', async () => {
  const [four, six] = [createServer(), createServer()];
  const { port } = await bindServer(four, '0.0.0.0:0');
  try {
    const bound = await bindServer(six, `[::]:${port}`, { ipv6Only: true });
    assert.deepEqual(bound, { host: '::', port });
  } finally {
    four.close();
    six.close();
  }
});
