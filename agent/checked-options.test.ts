import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../proto/ops/config.ts';
import { adviceOn, checkAgentOptions } from './checked-options.ts';
import { AgentOptions } from './options.ts';

function check(sections: object): void {
  checkAgentOptions(loadConfig(AgentOptions, { text: JSON.stringify(sections), env: {} }));
}

function refused(sections: object, message: RegExp): void {
  assert.throws(() => check(sections), { code: 'CONFIG_INVALID', message });
}

test('the address of a registry is refused under its key, with what to write', () => {
  for (const url of ['hub.example:7400', 'hub.example', 'ftp://hub.example', 'https://h/path']) {
    refused({ hub: { url } }, /hub\.url: must be https:\/\/host\[:port\]/);
  }
  const url = 'http://hub.example:7400';
  refused({ hub: { url } }, /hub\.url: is plain http.* hub\.allowPlainHttp/);
  const upstreams = [{ name: 'quay.io', url }];
  refused({ upstreams }, /upstreams\[0\]\.url: is plain http.* upstreams\[0\]\.allowPlainHttp/);
  check({ hub: { url, allowPlainHttp: true } });
  check({ hub: { url: 'https://hub.example:7400/' } });
  check({ hub: { url: 'http://127.0.0.1:7400' } });
});

test('upstreams do not share a name, nor is an address a name; all is told at once', () => {
  const one = { name: 'docker.io', url: 'https://one.example' };
  const other = { name: 'index.docker.io', url: 'https://other.example', alias: 'hub' };
  const upstreams = [one, other];
  const swarm = { addresses: ['10.0.0.1', 'node-1'] };
  const message = /upstreams\[1\]\.name: "docker\.io" is taken[^]*swarm\.addresses\[1\]/;
  refused({ upstreams, swarm }, message);
});

function adviceFor(staleTagMaxAge: string, grantOutageGrace: string): string[] {
  const text = JSON.stringify({ mirror: { staleTagMaxAge }, fetch: { grantOutageGrace } });
  return adviceOn(loadConfig(AgentOptions, { text, env: {} }));
}

test('tags that outlive the rights to their content are told of, and no more than that', () => {
  assert.deepEqual(adviceFor('24h', '24h'), []);
  assert.deepEqual(adviceFor('0s', '0s'), []);
  const [advice = ''] = adviceFor('48h', '60m');
  assert.match(advice, /staleTagMaxAge is 2880m.*for at most 90m.*fetch\.grantOutageGrace/);
  assert.deepEqual(adviceOn(loadConfig(AgentOptions, { text: '{}', env: {} })), []);
});
