import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CodedError, hasCode, messageOf } from './errors.ts';

test('a code is recognised on any error that carries it', () => {
  assert.ok(hasCode(new CodedError('no', { code: 'A' }), 'B', 'A'));
  assert.ok(hasCode({ code: 'A' }, 'A'));
  for (const other of [undefined, null, 'A', { code: 1 }, new Error('A')]) {
    assert.equal(hasCode(other, 'A'), false);
  }
});

test('a message tells its causes once each', () => {
  const root = new Error('disk full');
  const same = new Error('write failed', { cause: new Error('write failed', { cause: root }) });
  assert.equal(
    messageOf(new Error('push failed', { cause: same })),
    'push failed: write failed: disk full',
  );
  assert.equal(messageOf('plain'), 'plain');
  assert.equal(messageOf({ secret: 1 }), 'a value that is no error');
});

test('a dial that failed at every address tells why at each', () => {
  const refused = ['::1', '127.0.0.1'].map((host) => new Error(`connect ECONNREFUSED ${host}:1`));
  assert.equal(
    messageOf(new Error('cannot be asked', { cause: new AggregateError(refused) })),
    'cannot be asked: connect ECONNREFUSED ::1:1; connect ECONNREFUSED 127.0.0.1:1',
  );
});

test('a message is bounded, also when its causes go in a circle', () => {
  const first = new Error('first');
  first.cause = new Error('second', { cause: first });
  assert.equal(messageOf(first).split(': ').length, 8);
  assert.ok(messageOf(new Error('x'.repeat(100_000))).length <= 2000);
});
