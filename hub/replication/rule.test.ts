import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RuleSettings } from '../../proto/hubapi/replication.ts';
import { digestOf } from '../../proto/oci/digest.ts';
import { parseRepository } from '../../proto/oci/name.ts';
import { backoffMs } from '../../proto/std/backoff.ts';
import { JOB_RETRY_BASE_MS, JOB_RETRY_MAX_MS } from '../jobs/constants.ts';
import { companionTags, subjectOfTag } from './companions.ts';
import { parseRule } from './rule.ts';
import { executionJob } from './rules.ts';

const HALF_HOUR_MS = 30 * 60_000;

function rule(settings: Partial<RuleSettings> = {}) {
  const base = { direction: 'push', registry: 'other', repositories: ['**'] } as const;
  return parseRule('x', { ...base, repositories: ['**'], ...settings });
}

function named(name: string, settings: Partial<RuleSettings>): string {
  return rule(settings).destinationOf(parseRepository(name));
}

test('names at the destination: leading segments left out, a namespace before them', () => {
  assert.equal(named('a/b/c', {}), 'a/b/c');
  assert.equal(named('a/b/c', { dropSegments: 1 }), 'b/c');
  assert.equal(named('a/b/c', { dropSegments: 9 }), 'c');
  assert.equal(named('a/b/c', { dropSegments: -1, namespace: 'x/y' }), 'x/y/c');
  assert.equal(named('a', { namespace: 'x' }), 'x/a');
  assert.throws(() => named('a'.repeat(250), { namespace: 'library' }), { code: 'REFUSED' });
  const pull = { direction: 'pull', namespace: 'docker.io' } as const;
  assert.throws(() => named('library/nginx', pull), { code: 'REFUSED', message: /upstreams/ });
});

test('a tag fits all that is given, and nothing of what is left out', () => {
  const tags = { globs: ['v*', 'r*'], regex: '[vr]\\d.*', semver: '^1.2', excluded: ['*-beta'] };
  const { choosesTag } = rule({ tags });
  assert.ok(choosesTag('v1.3.0'));
  assert.ok(!choosesTag('1.3.0'), 'no glob');
  assert.ok(!choosesTag('r1.3.0'), 'no version');
  assert.ok(!choosesTag('v2.0.0'), 'not in the range');
  assert.ok(!rule({ tags: { excluded: ['*-beta'] } }).choosesTag('x-beta'));
  assert.ok(rule().choosesTag('anything'));
});

test('what the hub keeps of upstreams is pushed only when it is named', () => {
  assert.ok(!rule().choosesRepository('docker.io/library/nginx'));
  assert.ok(rule({ repositories: ['docker.io/**'] }).choosesRepository('docker.io/library/nginx'));
  assert.ok(rule({ direction: 'pull' }).choosesRepository('example.com/app'));
  const { choosesRepository } = rule({ excludedRepositories: ['team/secret*'] });
  assert.ok(choosesRepository('team/app') && !choosesRepository('team/secret-app'));
});

test('tags that belong to a manifest are known by their names', () => {
  const digest = digestOf(Buffer.from('an image'));
  for (const tag of companionTags(digest)) assert.equal(subjectOfTag(tag), digest);
  assert.equal(subjectOfTag(digest.replace(':', '-')), digest);
  for (const tag of ['v1', 'sha256-abc.sig', `${digest.replace(':', '-')}.other`]) {
    assert.equal(subjectOfTag(tag), undefined, tag);
  }
});

test('what was pushed is tried for as long as a registry may be away', () => {
  const scope = { repository: 'team/app', reference: 'v1', onlyIfThere: false };
  const { attemptsMax } = executionJob({ rule: 'x', trigger: 'push', scope });
  const bounds = { baseMs: JOB_RETRY_BASE_MS, maxMs: JOB_RETRY_MAX_MS, random: () => 1 / 2 };
  const pauses = Array.from({ length: attemptsMax - 1 }, (_, i) => backoffMs(i, bounds));
  assert.ok(pauses.reduce((sum, ms) => sum + ms, 0) >= HALF_HOUR_MS);
});
