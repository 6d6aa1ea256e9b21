import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isListedHost, isLoopback } from './hosts.ts';

test('a host is listed by its name, with the port that is meant', () => {
  const cases: readonly [url: string, entry: string, expected: boolean][] = [
    ['https://cdn.example/x', 'cdn.example', true],
    ['https://CDN.example/x', 'Cdn.Example', true],
    ['https://cdn.example/x', 'cdn.example:443', true],
    ['https://cdn.example:8443/x', 'cdn.example', false],
    ['https://cdn.example:8443/x', 'cdn.example:8443', true],
    ['http://cdn.example/x', 'cdn.example:80', true],
    ['http://cdn.example/x', 'cdn.example:443', false],
    ['https://[fd00::1]:5000/', '[fd00::1]:5000', true],
    ['https://cdn.example.evil/', 'cdn.example', false],
    ['https://evil-cdn.example/', 'cdn.example', false],
    ['https://cdn.example@evil.example/', 'cdn.example', false],
    ['https://cdn.example./', 'cdn.example', false],
  ];
  for (const [url, entry, expected] of cases) {
    assert.equal(isListedHost(new URL(url), ['other.example', entry]), expected, `${url} ${entry}`);
  }
  assert.equal(isListedHost(new URL('https://cdn.example/'), []), false);
});

test('a suffix lists every host below it, and no other', () => {
  const cases: readonly [url: string, entry: string, expected: boolean][] = [
    ['https://a.cdn.example/', '*.cdn.example', true],
    ['https://a.b.cdn.example/', '*.CDN.example', true],
    ['https://a.cdn.example:8443/', '*.cdn.example', false],
    ['https://a.cdn.example:8443/', '*.cdn.example:8443', true],
    ['https://a.cdn.example/', '*.cdn.example:443', true],
    ['https://cdn.example/', '*.cdn.example', false],
    ['https://evilcdn.example/', '*.cdn.example', false],
    ['https://a.cdn.example.evil/', '*.cdn.example', false],
    ['https://evil.example/', '*', false],
    ['https://evil.example/', '*.', false],
    ['https://evil.example/', 'evil.*', false],
  ];
  for (const [url, entry, expected] of cases) {
    assert.equal(isListedHost(new URL(url), [entry]), expected, `${url} ${entry}`);
  }
});

test('only this machine is loopback', () => {
  for (const host of ['localhost', '127.0.0.1:5000', '127.1', '0x7f000001', '[::1]:80']) {
    assert.equal(isLoopback(new URL(`http://${host}/`)), true, host);
  }
  for (const host of ['localhost.example', '127.0.0.1.example', '0.0.0.0', '[::]', '128.0.0.1']) {
    assert.equal(isLoopback(new URL(`http://${host}/`)), false, host);
  }
});
