import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  canonicalAddress,
  clientAddress,
  memberAddresses,
  networkOf,
  networksOf,
} from './address-policy.ts';

const NONE = networksOf([]);

function network(text: string): string {
  return networkOf(canonicalAddress(text) ?? '');
}

test('an agent is reachable where it connects from, and nowhere else on its own word', () => {
  assert.deepEqual(memberAddresses([], '10.1.2.3', NONE), ['10.1.2.3']);
  const proposed = ['10.1.2.4', '192.0.2.1', '::1', 'host.example', '10.1.2.3', '10.0.0.1:80'];
  assert.deepEqual(memberAddresses(proposed, '10.1.2.3', NONE), ['10.1.2.3']);
});

test('addresses out of configured networks are believed, IPv4 and IPv6', () => {
  const allowed = networksOf(['10.1.0.0/16', 'fd00:1::/32', '192.0.2.7']);
  const proposed = ['10.1.9.9', '10.2.0.1', 'fd00:1::5', 'fd00:2::5', '192.0.2.7', '192.0.2.8'];
  assert.deepEqual(memberAddresses(proposed, '203.0.113.1', allowed), [
    '10.1.9.9',
    'fd00:1::5',
    '192.0.2.7',
    '203.0.113.1',
  ]);
});

test('loopback is used only when there is nothing else, and nonsense never', () => {
  const allowed = networksOf(['10.0.0.0/8']);
  assert.deepEqual(memberAddresses(['10.0.0.5'], '127.0.0.1', allowed), ['10.0.0.5']);
  assert.deepEqual(memberAddresses(['10.0.0.5'], '127.0.0.1', NONE), ['127.0.0.1']);
  assert.deepEqual(memberAddresses([], '::1', NONE), ['::1']);
  const all = networksOf(['0.0.0.0/0', '::/0']);
  const wrong = ['0.0.0.0', '::', '224.0.0.1', '255.255.255.255', 'fe80::1', 'ff02::1'];
  assert.deepEqual(memberAddresses(wrong, '10.0.0.1', all), ['10.0.0.1']);
  assert.deepEqual(memberAddresses(wrong, undefined, all), []);
});

test('one address has one text: IPv4 in IPv6 is IPv4, IPv6 is short and lower-case', () => {
  assert.equal(canonicalAddress('::ffff:10.0.0.1'), '10.0.0.1');
  assert.equal(canonicalAddress('0:0:0:0:0:FFFF:a00:1'), '10.0.0.1');
  assert.equal(canonicalAddress('[FD00:0:0::1]'), 'fd00::1');
  assert.equal(canonicalAddress('fe80::1%eth0'), undefined);
  assert.equal(canonicalAddress('010.0.0.1'), undefined);
});

test('of IPv6 the network counts, whose addresses one client may all have', () => {
  const one = ['2001:db8::1', '2001:db8::ffff:1:2:3', '2001:db8:0:0:9:8:7:6'];
  const other = ['2001:db8:0:1::1', '::1', '1::', '10.0.0.1', '10.0.0.2', '::ffff:10.0.0.3'];
  assert.equal(new Set(one.map(network)).size, 1);
  assert.equal(new Set([one[0] ?? '', ...other].map(network)).size, 1 + other.length);
  assert.equal(network('::ffff:10.0.0.3'), '10.0.0.3');
});

test('the number of addresses is bounded', () => {
  const many = Array.from({ length: 200 }, (_, i) => `10.0.0.${i + 1}`);
  assert.equal(memberAddresses(many, '10.0.1.1', networksOf(['10.0.0.0/8'])).length, 16);
});

test('X-Forwarded-For counts only as far as trusted proxies wrote it', () => {
  const proxies = networksOf(['10.0.0.0/24', '::1']);
  assert.equal(clientAddress('192.0.2.9', '10.9.9.9', proxies), '192.0.2.9');
  assert.equal(clientAddress('10.0.0.1', '192.0.2.9', proxies), '192.0.2.9');
  assert.equal(clientAddress('10.0.0.1', 'evil, 192.0.2.9, 10.0.0.2', proxies), '192.0.2.9');
  assert.equal(clientAddress('::ffff:10.0.0.1', undefined, proxies), '10.0.0.1');
  assert.equal(clientAddress('10.0.0.1', '192.0.2.9:5678', proxies), '192.0.2.9');
  assert.equal(clientAddress('10.0.0.1', '[2001:db8::9]:5678', proxies), '2001:db8::9');
  assert.equal(clientAddress('10.0.0.1', '[2001:db8::9]', proxies), '2001:db8::9');
  assert.equal(clientAddress('10.0.0.1', 'nonsense', proxies), undefined);
  assert.equal(clientAddress(undefined, '192.0.2.9', proxies), undefined);
});

test('a network that is none is refused by name', () => {
  for (const cidr of ['10.0.0.0/33', 'fd00::/129', 'example/8', '10.0.0.0/', '10.0.0.0/8/8', '']) {
    assert.throws(() => networksOf([cidr]), RangeError, cidr);
  }
});

test('whatever an agent proposes, only dialable literals come out', () => {
  const text = fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.domain());
  const all = networksOf(['0.0.0.0/0', '::/0']);
  fc.assert(
    fc.property(fc.array(text), fc.oneof(fc.ipV4(), fc.ipV6()), (proposed, remote) => {
      for (const address of memberAddresses(proposed, canonicalAddress(remote), all)) {
        assert.equal(canonicalAddress(address), address);
      }
    }),
  );
});
