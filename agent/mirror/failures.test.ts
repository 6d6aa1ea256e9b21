import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from 'undici';
import { notFound, unavailable } from './errors.ts';
import { failureOf } from './failures.ts';
import { startTestMirror } from './fixture.ts';
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
  const { status, headers, body } = failureOf(err, 'registry.example:5000');
  assert.deepEqual([status, headers['retry-after']], [503, '27']);
  assert.match(body, /"UNAVAILABLE".*registry\.example:5000 .* in 27 s/);
  assert.match(failureOf(err).body, /the registry behind this mirror .* in 27 s/);
});

test('what the hub says of an upstream is said to the runtime, also where no body is sent', () => {
  const away = 'docker.io allows no more pulls until 2026-01-01T00:00:00.000Z';
  const data = { code: 'HTTP_STATUS', status: 503, retryAfterS: 27, away } as const;
  const cause = distributionError(data, 'the registry answered 503');
  const { headers, body } = failureOf(unavailable('upstream', 'no answer', { cause }));
  assert.deepEqual([headers['retry-after'], headers['flotilla-upstream-away']], ['27', away]);
  assert.deepEqual(JSON.parse(body), { errors: [{ code: 'UNAVAILABLE', message: away }] });
});

test('an upstream is called as in the configuration, here or behind the hub', async () => {
  await using on = await startTestMirror();
  const data = { code: 'HTTP_STATUS', status: 503, retryAfterS: 27 } as const;
  const cause = distributionError(data, 'the registry answered 503');
  const failing = Promise.reject<void>(unavailable('source', 'no answer', { cause }));
  failing.catch(() => {});
  on.hub.gate = failing;
  on.upstream.gate = failing;
  for (const [target, who] of [
    ['app/manifests/v1?ns=registry.example:5000', 'registry.example:5000'],
    ['registry.example.5000/app/manifests/v1', 'registry.example:5000'],
    ['app/manifests/v1?ns=quay.example:5000', 'quay.example:5000'],
    ['app/manifests/v1?ns=hub.example', 'the registry behind this mirror'],
  ] as const) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    const { statusCode, body } = await request(`${on.url}/v2/${target}`);
    assert.equal(statusCode, 503);
    const message = `${who} gives nothing new at the moment; try again in 27 s`;
    // oxlint-disable-next-line no-await-in-loop
    assert.deepEqual(await body.json(), { errors: [{ code: 'UNAVAILABLE', message }] });
  }
});
