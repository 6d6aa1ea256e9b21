import assert from 'node:assert/strict';
import { test } from 'node:test';
import { notFound, unavailable } from './errors.ts';
import { failureOf } from './failures.ts';
import { distributionError } from '../../proto/distribution/errors.ts';

test('a warning is something to look at, and says what at', () => {
  const warned = failureOf(unavailable('source', 'the hub does not answer'));
  assert.deepEqual([warned.status, warned.level], [503, 'warn']);
  assert.match(warned.remedy, /hub and upstreams/);
  const full = failureOf(unavailable('overloaded', 'too many requests'));
  assert.equal(full.level, 'warn');
  assert.match(full.remedy, /mirror\.requestsMax/);
  const draining = failureOf(unavailable('draining', 'the mirror is draining'));
  assert.deepEqual([draining.status, draining.level], [503, 'debug']);
  assert.deepEqual(failureOf(notFound('blob')).level, 'debug');
});

test('when a registry says when to come back, the answer does, and names the upstream', () => {
  const data = { code: 'HTTP_STATUS', status: 503, retryAfterS: 27 } as const;
  const cause = distributionError(data, 'the registry answered 503');
  const err = new Error('nobody has given it', { cause });
  const { status, headers, body } = failureOf(err, 'docker.io/library/nginx');
  assert.deepEqual([status, headers['retry-after']], [503, '27']);
  assert.match(body, /"UNAVAILABLE".*docker\.io .* in 27 s/);
  assert.match(failureOf(err, 'team/app').body, /the registry behind this mirror .* in 27 s/);
});

test('what the hub says of an upstream is said to the runtime, also where no body is sent', () => {
  const away = 'docker.io allows no more pulls until 2026-01-01T00:00:00.000Z';
  const data = { code: 'HTTP_STATUS', status: 503, retryAfterS: 27, away } as const;
  const cause = distributionError(data, 'the registry answered 503');
  const { headers, body } = failureOf(unavailable('upstream', 'no answer', { cause }), 'team/app');
  assert.deepEqual([headers['retry-after'], headers['flotilla-upstream-away']], ['27', away]);
  assert.deepEqual(JSON.parse(body), { errors: [{ code: 'UNAVAILABLE', message: away }] });
});
