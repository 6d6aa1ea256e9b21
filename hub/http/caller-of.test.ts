import assert from 'node:assert/strict';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { ACCOUNT_FAILURES_BURST } from '../access/constants.ts';
import { LoginThrottle } from '../access/throttle.ts';
import { createCallerOf } from './caller-of.ts';

function requestOf(remoteAddress: string, headers: Record<string, string> = {}): IncomingMessage {
  const socket = new Socket();
  Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress });
  return Object.assign(new IncomingMessage(socket), { headers });
}

/** Whether the passwords of an account can be guessed without end by such a request. */
async function isEndless(address: string): Promise<boolean> {
  const throttle = new LoginThrottle({ now: () => 0 });
  for (let n = 0; n <= ACCOUNT_FAILURES_BURST; n += 1) {
    const tried = throttle.run({ user: 'ada', address }, async () => false);
    // oxlint-disable-next-line no-await-in-loop -- one guess after the other
    if (await tried.catch(() => true)) return false;
  }
  return true;
}

test('the clients of a proxy on this machine that nobody trusts are not this machine', async () => {
  const callerOf = createCallerOf({ trustedProxies: ['10.0.0.0/8'] });
  assert.equal(callerOf(requestOf('127.0.0.1')), '127.0.0.1');
  assert.ok(await isEndless('127.0.0.1'));
  const relayed = [
    requestOf('127.0.0.1', { 'x-forwarded-for': '192.0.2.1' }),
    requestOf('127.0.0.1', { 'x-forwarded-for': '127.0.0.1' }),
    requestOf('::1', { 'x-forwarded-host': 'hub.example' }),
    requestOf('::ffff:127.0.0.1', { forwarded: 'for=192.0.2.1' }),
    requestOf('127.0.0.6', { via: '1.1 proxy' }),
    requestOf('127.0.0.1', { 'x-real-ip': '192.0.2.1' }),
    requestOf('10.0.0.1', { 'x-forwarded-for': '127.0.0.1' }),
  ];
  for (const request of relayed) assert.ok(!(await isEndless(callerOf(request))));
});

test('a proxy on this machine that is trusted says who its clients are', () => {
  const callerOf = createCallerOf({ trustedProxies: ['127.0.0.0/8'] });
  for (const client of ['192.0.2.1', '127.0.0.1']) {
    const request = requestOf('127.0.0.1', { 'x-forwarded-for': client });
    assert.equal(callerOf(request), client);
  }
});
