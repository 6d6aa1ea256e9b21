import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../proto/ops/config.ts';
import { checkedOptions, HubOptions } from './options.ts';

function check(sections: object): ReturnType<typeof checkedOptions> {
  return checkedOptions(loadConfig(HubOptions, { text: JSON.stringify(sections), env: {} }));
}

function refused(sections: object, message: RegExp): void {
  assert.throws(() => check(sections), { code: 'CONFIG_INVALID', message });
}

test('half a TLS pair stops the start instead of serving plain http', () => {
  const cases = [
    [{ certFile: '/tls.crt' }, /tls\.keyFile/],
    [{ keyFile: '/tls.key' }, /tls\.certFile/],
  ] as const;
  for (const [tls, message] of cases) {
    assert.throws(() => check({ tls }), { code: 'CONFIG_INVALID', message });
  }
  const tls = { certFile: '/tls.crt', keyFile: '/tls.key' };
  assert.deepEqual(check({ tls }).certificate, tls);
  assert.equal(check({}).certificate, undefined);
});

test('an external URL or a network that is none stops the start, with its place', () => {
  const message = /hub\.externalUrl[^]*http\.trustedProxies\[1\]/;
  const sections = {
    hub: { externalUrl: 'hub.example' },
    http: { trustedProxies: ['10.0.0.0/8', '10.0.0.0/33'] },
  };
  assert.throws(() => check(sections), { code: 'CONFIG_INVALID', message });
  const { externalUrl } = check({ hub: { externalUrl: 'https://hub.example/' } });
  assert.equal(externalUrl, 'https://hub.example');
});

test('what would stop the hub or lock out its admin is told with its place', () => {
  refused({ fleet: { addressCidrs: ['10.0.0.0/8', 'node-1'] } }, /fleet\.addressCidrs\[1\]/);
  refused({ fleet: { zones: { 'node-1': 'a zone' } } }, /fleet\.zones\.node-1/);
  refused({ access: { adminUsername: 'ops:admin' } }, /access\.adminUsername/);
  refused({ access: { adminPassword: '' } }, /access\.adminPassword/);
  const twice = { adminPassword: 'secret', adminPasswordFile: '/password' };
  refused({ access: twice }, /access\.adminPasswordFile(?![^]*secret)/);
});

test('a store of blobs that cannot be used stops the start, with its place', () => {
  const bucket = 'images';
  const s3 = (fields: object) => ({ blobs: { driver: 's3', s3: { bucket, ...fields } } });
  refused({ blobs: { driver: 's3' } }, /blobs\.s3\.bucket/);
  refused({ blobs: { s3: { bucket } } }, /blobs\.s3\.bucket.*driver/);
  refused({ blobs: { driver: 'tape' } }, /blobs\.driver/);
  for (const name of ['Images', 'a', 'a/b', '../x']) {
    refused(s3({ bucket: name }), /blobs\.s3\.bucket/);
  }
  for (const endpoint of ['s3.example', 'ftp://s3.example', 'https://u:p@s3.example/x']) {
    refused(s3({ endpoint }), /blobs\.s3\.endpoint/);
  }
  refused(s3({ accessKeyId: 'key' }), /blobs\.s3\.secretAccessKeyFile/);
  refused(s3({ secretAccessKey: 'hidden' }), /blobs\.s3\.accessKeyId(?![^]*hidden)/);
  const twice = { accessKeyId: 'key', secretAccessKey: 'hidden', secretAccessKeyFile: '/secret' };
  refused(s3(twice), /blobs\.s3\.secretAccessKeyFile(?![^]*hidden)/);
  for (const prefix of ['hub', '/hub/', 'a//b/']) refused(s3({ prefix }), /blobs\.s3\.prefix/);
  check(
    s3({
      endpoint: 'http://127.0.0.1:9000',
      prefix: 'hub/',
      accessKeyIdFile: '/key',
      secretAccessKeyFile: '/secret',
    }),
  );
});

test('a hub is one of several only with what they share, at a place others can reach', () => {
  const shared = {
    catalog: { url: 'postgres://flotilla@db/flotilla' },
    blobs: { driver: 's3', s3: { bucket: 'images' } },
  };
  const replicas = { advertise: 'http://10.0.0.1:7400' };
  assert.equal(check({ ...shared, replicas }).advertise, 'http://10.0.0.1:7400');
  assert.equal(check(shared).advertise, undefined);
  refused({ ...shared, catalog: {}, replicas }, /replicas\.advertise.*catalog\.url/);
  refused({ ...shared, blobs: {}, replicas }, /replicas\.advertise.*blobs\.driver/);
  refused({ ...shared, replicas: { caFile: '/ca' } }, /replicas\.caFile.*advertise/);
  for (const advertise of ['10.0.0.1:7400', 'ftp://hub', 'http://hub/x', 'http://u:p@hub', 'x']) {
    refused({ ...shared, replicas: { advertise } }, /replicas\.advertise/);
  }
});
