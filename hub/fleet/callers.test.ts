import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLOCK_SKEW_MS } from '../../proto/trust/validity.ts';
import { Callers } from './callers.ts';
import { START_MS } from './fleet-fixture.ts';
import { MemberTable } from './member-table.ts';

test('the request of a key that is out is not forgotten while it can be sent again', () => {
  const clock = { nowMs: START_MS };
  const callers = new Callers({ now: () => clock.nowMs }, { table: new MemberTable() });
  callers.passed('enrol', 'peer', START_MS);
  clock.nowMs += CLOCK_SKEW_MS;
  callers.purge();
  assert.throws(() => callers.inOrder('enrol', 'peer', START_MS), { code: 'REPLAYED' });
  clock.nowMs += 1;
  callers.purge();
  assert.doesNotThrow(() => callers.inOrder('enrol', 'peer', START_MS));
});
